// https://docs.nats.io/nats-concepts/jetstream/streams (work-queue retention, file storage),
// /consumers (pull, explicit acknowledgement, MaxAckPending)
import { AckPolicy, RetentionPolicy, StorageType, connect } from "nats";

export async function open({ port }) {
  const nc = await connect({ servers: `127.0.0.1:${port}` });
  const manager = await nc.jetstreamManager();
  const js = nc.jetstream();
  await manager.streams.add({
    name: "jobs",
    subjects: ["jobs"],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    num_replicas: 1,
  });
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  return {
    add: (name, body) => js.publish("jobs", encoder.encode(name + body)),
    async worker({ concurrency }, post) {
      await manager.consumers.add("jobs", {
        durable_name: "worker",
        ack_policy: AckPolicy.Explicit,
        max_ack_pending: 4096,
      });
      const consumer = await js.consumers.get("jobs", "worker");
      return async (done) => {
        const messages = await consumer.consume({ max_messages: 1024 });
        let busy = 0;
        let freed = null;
        for await (const message of messages) {
          while (busy >= concurrency) await new Promise((resolve) => (freed = resolve));
          busy++;
          const text = decoder.decode(message.data);
          post(text.slice(0, 13), text.slice(13)).then(() => {
            message.ack();
            busy--;
            freed?.();
            done();
          });
        }
      };
    },
    /** Acknowledgements are not answered, so the server is asked. */
    async settled() {
      await nc.flush();
      const info = await manager.consumers.info("jobs", "worker");
      return info.num_pending + info.num_ack_pending === 0;
    },
  };
}
