"""Sockets, HTTP clients, threads and timers: what carriers, agents and stores share."""
