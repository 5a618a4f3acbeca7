//! Messages and records as octets.
//!
//! Numbers are in groups of seven bits, the lowest first; octets stand behind their number.
