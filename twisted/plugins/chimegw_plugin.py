"""Tell C{twistd} and C{twist} about the gateway.  Nothing else belongs here."""

from twisted.application.service import ServiceMaker

# Lists of plugins that older installations left (dropin.cache) have this name.
chime_gateway = ServiceMaker(
    name="Chime voice gateway",
    module="chime_gateway.app.twistd",
    description="Join Voice Connector calls to Azure OpenAI Realtime sessions.",
    tapname="chimegw",
)
