// https://www.rabbitmq.com/docs/confirms (publisher confirms, prefetch 100 to 300), /docs/priority,
// /docs/persistence-conf
import amqp from "amqplib";

const PRIORITY = { N: 5, H: 9, B: 1 };

export async function open({ port, queue }) {
  const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${port}`, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("jobs", { durable: true, arguments: queue });
  return {
    add: (name, body) =>
      new Promise((resolve, reject) => {
        const options = { persistent: true, priority: PRIORITY[name[0]] };
        const answer = (error) => (error ? reject(error) : resolve());
        channel.sendToQueue("jobs", Buffer.from(name + body, "latin1"), options, answer);
      }),
    async worker({ prefetch }, post) {
      await channel.prefetch(prefetch);
      return (done) =>
        channel.consume("jobs", async (message) => {
          const text = message.content.toString("latin1");
          await post(text.slice(0, 13), text.slice(13));
          channel.ack(message);
          done();
        });
    },
    /** Acknowledgements are not answered: what follows them on the same channel is. */
    settled: async () => (await channel.checkQueue("jobs")).messageCount === 0,
  };
}
