//! Messages and requests as protobuf.
