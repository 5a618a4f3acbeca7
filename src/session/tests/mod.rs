//! The session as a client and a broker see it: methods in, methods and requests out.

mod bench;
mod broker;
mod channels;
mod connections;
mod consuming;
mod publishing;
