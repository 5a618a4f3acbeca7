//! Declaring, binding and routing, through the topology's face.
