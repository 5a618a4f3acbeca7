//! A work queue: three workers share tasks, one at a time each; what a worker gives back is tried
//! once more elsewhere, and then put aside in a dead-letter queue.
//!
//! ```sh
//! cargo run --example work_queue
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        BasicRejectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel).await?;

    for name in ["one", "two", "three"] {
        let channel = connection.create_channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        tokio::spawn(work(name, channel));
    }
    for task in 1..=9 {
        let body = format!("task {task}");
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        channel
            .basic_publish("".into(), "tasks".into(), options, body.as_bytes(), properties)
            .await?;
    }
    let mut aside = consume(&channel, "tasks.aside").await?;
    if let Some(delivery) = aside.next().await {
        println!("put aside: {}", text(&delivery?));
    }
    connection.close(200, "OK".into()).await
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let options = QueueDeclareOptions::default();
    channel.queue_declare("tasks.aside".into(), options, FieldTable::default()).await?;
    let mut arguments = FieldTable::default();
    let to = |name: &str| AMQPValue::LongString(name.into());
    arguments.insert("x-dead-letter-exchange".into(), to(""));
    arguments.insert("x-dead-letter-routing-key".into(), to("tasks.aside"));
    channel.queue_declare("tasks".into(), options, arguments).await?;
    Ok(())
}

async fn consume(channel: &Channel, queue: &str) -> lapin::Result<lapin::Consumer> {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

/// The fifth task is too much for anybody: it is given back once, then rejected.
async fn work(name: &'static str, channel: Channel) -> lapin::Result<()> {
    let mut tasks = consume(&channel, "tasks").await?;
    while let Some(task) = tasks.next().await {
        let task = task?;
        if text(&task) != "task 5" {
            println!("{name} did {}", text(&task));
            task.ack(BasicAckOptions::default()).await?;
            continue;
        }
        println!("{name} cannot do {}", text(&task));
        task.reject(BasicRejectOptions { requeue: !task.redelivered }).await?;
    }
    Ok(())
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}
