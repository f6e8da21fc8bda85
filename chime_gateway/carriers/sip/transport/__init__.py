"""SIP's sockets, connections and transactions."""
