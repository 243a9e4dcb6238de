//! What comes out can be decoded without a complaint, whatever happens to the stream.
