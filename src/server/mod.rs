//! Listeners and connections: frames in, ordered replies out.
