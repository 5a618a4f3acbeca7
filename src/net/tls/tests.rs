//! What TLS does with files, good and bad, and what it reads from certificates.
