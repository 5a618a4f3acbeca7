//! A question and its answer over direct reply-to: no queue is declared for the answer.
//!
//! ```sh
//! cargo run --example rpc
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let server = connection.create_channel().await?;
    server
        .queue_declare("squares".into(), QueueDeclareOptions::default(), FieldTable::default())
        .await?;
    tokio::spawn(serve(server));

    let client = connection.create_channel().await?;
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let replies = "amq.rabbitmq.reply-to";
    let mut answers =
        client.basic_consume(replies.into(), "".into(), no_ack, FieldTable::default()).await?;
    let question = BasicProperties::default().with_reply_to(replies.into());
    let options = BasicPublishOptions::default();
    client.basic_publish("".into(), "squares".into(), options, b"12", question).await?;
    if let Some(answer) = answers.next().await {
        println!("12 squared is {}", String::from_utf8_lossy(&answer?.data));
    }
    connection.close(200, "OK".into()).await
}

async fn serve(channel: Channel) -> lapin::Result<()> {
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut questions =
        channel.basic_consume("squares".into(), "".into(), no_ack, FieldTable::default()).await?;
    while let Some(question) = questions.next().await {
        let question = question?;
        let number: i64 = String::from_utf8_lossy(&question.data).parse().unwrap_or(0);
        let answer = (number * number).to_string();
        let Some(to) = question.properties.reply_to().clone() else { continue };
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        channel.basic_publish("".into(), to, options, answer.as_bytes(), properties).await?;
    }
    Ok(())
}
