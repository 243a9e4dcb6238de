//! Test harness: processes, scripted and misbehaving peers, real encoders and players, packet comparison.
