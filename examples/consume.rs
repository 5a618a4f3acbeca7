//! Prints and acknowledges what arrives in the queue `hello`, until it is interrupted.
//!
//! ```sh
//! cargo run --example consume
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use futures_lite::StreamExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::FieldTable,
};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("hello".into(), durable, FieldTable::default()).await?;
    channel.basic_qos(10, BasicQosOptions::default()).await?;

    let options = BasicConsumeOptions::default();
    let mut deliveries =
        channel.basic_consume("hello".into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        println!("received {:?}", String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
