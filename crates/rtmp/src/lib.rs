//! Sans-IO RTMP: handshakes, chunks, messages, server and client sessions.
