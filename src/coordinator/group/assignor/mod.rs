//! Server-side assignors (KIP-848). Not here yet.
