//! The documents' own examples.
