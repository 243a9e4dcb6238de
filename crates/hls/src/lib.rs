//! Frames to MPEG-TS segments and playlists: cut rules, windows, sequence numbers.
