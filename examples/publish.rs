//! Publishes one message and waits for the broker's confirm.
//!
//! ```sh
//! cargo run --release -- --ephemeral &
//! cargo run --example publish -- "Hello World!"
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned());
    let text = std::env::args().nth(1).unwrap_or_else(|| "Hello World!".to_owned());

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("hello".into(), durable, FieldTable::default()).await?;

    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish("".into(), "hello".into(), options, text.as_bytes(), persistent);
    let confirmation = sent.await?.await?;
    println!("sent {text:?}: {confirmation:?}");
    connection.close(200, "OK".into()).await
}
