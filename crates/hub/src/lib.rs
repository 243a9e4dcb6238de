//! Registry, streams, logs, groups and cursors: every publisher writes one log, every reader is a cursor.
