//! Runs the broker inside this process, as a test would: a free port, nothing on disk.
//!
//! ```sh
//! cargo run --example embedded
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use leveret::{config::Config, server::Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let any_port = "127.0.0.1:0".parse()?;
    let server = Server::start(&Config { listen: vec![any_port], ..Config::default() }).await?;
    let url = format!("amqp://{}/%2f", server.addresses()[0]);
    println!("a broker of our own: {url}");

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions::default();
    channel.queue_declare("inbox".into(), options, FieldTable::default()).await?;
    let sent = channel.basic_publish(
        "".into(),
        "inbox".into(),
        BasicPublishOptions::default(),
        b"ping",
        BasicProperties::default(),
    );
    sent.await?;
    let got = channel.basic_get("inbox".into(), BasicGetOptions { no_ack: true }).await?;
    let body = got.map(|message| String::from_utf8_lossy(&message.delivery.data).into_owned());
    println!("got {body:?}");

    connection.close(200, "OK".into()).await?;
    server.stop().await;
    Ok(())
}
