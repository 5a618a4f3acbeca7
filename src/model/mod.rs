//! The words everyone uses: plain data, validated on construction, knowing nobody.
