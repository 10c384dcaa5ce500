//! The bundled load generator: open-loop clock, producers, consumers, report.
