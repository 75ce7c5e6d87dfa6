//! An AMQP client that holds many channels on one connection, and publishes and consumes on each.

use std::net::SocketAddrV4;
use std::time::Duration;

use amqprs::BasicProperties;
use amqprs::channel::{
    BasicConsumeArguments, BasicPublishArguments, Channel, ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::lab::namespace::Namespace;

const BOUND: Duration = Duration::from_secs(30);
const LENGTH: usize = 3000;

/// Opens `channels` channels on one connection, each with a queue and a consumer of its own; then
/// publishes `messages` on each, in turn, and fails unless each consumer gets its own, whole and in
/// order. `while_open` is called before that, with every channel open.
pub fn exchange(
    from: &Namespace,
    broker: SocketAddrV4,
    channels: usize,
    messages: usize,
    while_open: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    from.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let address = broker.ip().to_string();
            let login = OpenConnectionArguments::new(&address, broker.port(), "guest", "guest");
            let connection = timeout(BOUND, Connection::open(&login)).await??;
            let mut open = Vec::new();
            for number in 0..channels {
                let one = timeout(BOUND, Conversation::open(&connection, number)).await?;
                open.push(one.with_context(|| format!("channel {number}"))?);
            }
            while_open()?;
            for message in 0..messages {
                for conversation in &open {
                    timeout(BOUND, conversation.publish(message)).await??;
                }
            }
            for conversation in &mut open {
                for message in 0..messages {
                    timeout(BOUND, conversation.expect(message)).await.with_context(|| {
                        format!("message {message} on {}", conversation.queue)
                    })??;
                }
            }
            for conversation in open {
                timeout(BOUND, conversation.channel.close()).await??;
            }
            timeout(BOUND, connection.close()).await??;
            Ok(())
        })
    })?
}

struct Conversation {
    queue: String,
    channel: Channel,
    arrivals: UnboundedReceiver<ConsumerMessage>,
}

impl Conversation {
    async fn open(connection: &Connection, number: usize) -> Result<Self> {
        let queue = format!("channel-{number}");
        let channel = connection.open_channel(None).await?;
        channel.queue_declare(QueueDeclareArguments::transient_autodelete(&queue)).await?;
        let consume = BasicConsumeArguments::new(&queue, &queue).manual_ack(false).finish();
        let (_, arrivals) = channel.basic_consume_rx(consume).await?;
        Ok(Self { queue, channel, arrivals })
    }

    async fn publish(&self, message: usize) -> Result<()> {
        let to = BasicPublishArguments::new("", &self.queue);
        let sent = self.channel.basic_publish(BasicProperties::default(), self.body(message), to);
        Ok(sent.await?)
    }

    async fn expect(&mut self, message: usize) -> Result<()> {
        let arrived = self.arrivals.recv().await.context("the consumer was cancelled")?;
        ensure!(
            arrived.content.as_deref() == Some(&self.body(message)[..]),
            "another message than {message} came on {}",
            self.queue
        );
        Ok(())
    }

    fn body(&self, message: usize) -> Vec<u8> {
        format!("{} {message} ", self.queue).into_bytes().into_iter().cycle().take(LENGTH).collect()
    }
}
