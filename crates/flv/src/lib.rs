//! FLV tags, Enhanced RTMP v1 and v2, AMF0: bytes to tags to frames and back.
