//! The seeded twin of the glommio backend.
