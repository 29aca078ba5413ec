//! Observation: log sinks, and the events of IKE_SAs with their listeners. The core never calls a listener by name.

pub mod log;
