"""Agents, their tools, and limits."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.wrong_settings.wrong import TOOL, Wrong, toml

AGENTS: Sequence[Wrong] = (
    toml("a table", "[agent.a]\n", "agent", "", "did you mean agents?"),
    toml("a key", "[agents.a]\nvoise='x'\n", "agents.a", "voise", "mean voice?"),
    toml("a limit", "[limits]\nmax_call=1\n", "limits", "max_call", "mean max_calls?"),
    toml("a key of SIP", "[sip]\ncodec=[]\n", "sip", "codec", "did you mean codecs?"),
    toml(
        "a deployment's key",
        "[deployments.b]\nurl='x'\n",
        "deployments.b",
        "url",
        "endpoint?",
    ),
    toml(
        "a number as a text", "[limits]\nmax_calls='5'\n", "max_calls", "'5'", "number"
    ),
    toml("too few calls", "[limits]\nmax_calls=0\n", "limits.max_calls", "0", ">= 1"),
    toml("a negative time", "[limits]\nidle_seconds=-1\n", "idle_seconds", "-1", "> 0"),
    toml(
        "a truth", "[agents.a]\ninterruptible='no'\n", "interruptible", "'no'", "true"
    ),
    toml("too fast", "[agents.a]\nspeed=3\n", "agents.a.speed", "3", "<= 1.5"),
    toml(
        "too much", "[agents.a]\nmax_output_tokens=0\n", "max_output", "0", "1 to 4096"
    ),
    toml("an effort", "[agents.a]\nreasoning='max'\n", "reasoning", "'max'", "'xhigh'"),
    toml(
        "a noise", "[agents.a]\nnoise_reduction='on'\n", "noise", "'on'", "near_field"
    ),
    toml(
        *("an unclosed brace", "[agents.a]\ngreeting='Hi {caller, hello'\n"),
        *("agents.a.greeting", "{caller, h", "{caller}"),
    ),
    toml(
        *("an unclosed brace", "[agents.a]\ninstructions='Hi {caller'\n"),
        *("agents.a.instructions", "{caller", "{caller}"),
    ),
    toml(
        *("a variable", "[agents.a]\ngreeting='Hi {name}'\n"),
        *("agents.a.greeting", "{name}", "caller, called"),
    ),
    toml(
        "a tool", "[agents.a]\ntools=['order']\n", "agents.a.tools", "order", "[tools."
    ),
    toml("tools as a text", "[agents.a]\ntools='x'\n", "agents.a.tools", "", "a list"),
    toml("a target", "[agents.a]\ntargets=['x']\n", "targets", "x", "[targets.x]"),
    toml(
        "a target's address", "[targets.x]\naddress='office'\n", "address", "", "+12065"
    ),
    toml("a route", "[routes]\n'+1'='sales'\n", "routes.+1", "sales", "[agents.sales]"),
    toml("a tool's URL", "[tools.x]\nurl='x'\n", "tools.x.url", "'x'", "https://"),
    toml(
        *("a tool without a description", "[tools.x]\nurl='https://x'\n"),
        *("tools.x.description", "", "tells the model"),
    ),
    toml(
        *("a tool's parameters", TOOL + "parameters={type='string'}\n"),
        *("tools.order.parameters", "", 'must be "object"'),
    ),
    toml(
        "a VAD",
        "[agents.a.turn_detection]\ntype='x'\n",
        "turn_detection",
        "x",
        "server",
    ),
    toml(
        *("a threshold", "[agents.a.turn_detection]\ntype='server_vad'\nthreshold=5\n"),
        *("threshold", "5", "from 0 to 1"),
    ),
    toml(
        "an apology", "[agents.a]\napology='no.wav'\n", "apology", "no.wav", "no file"
    ),
    toml(
        "recordings", "[agents.a]\nrecording=true\n", "recording", "", "CHIMEGW_RECORD"
    ),
    toml(
        "a premium rate", "[transfer]\nallow=['49x']\n", "transfer.allow", "49x", "+49"
    ),
)
