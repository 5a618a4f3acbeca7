//! The words everyone uses: plain data, validated on construction, knowing nobody.

pub mod field_value;
pub mod malformed;
pub mod name;
pub mod octets;
pub mod properties;
pub mod table;
