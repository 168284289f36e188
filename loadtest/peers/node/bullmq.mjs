// https://docs.bullmq.io/guide/connections, /guide/workers/concurrency, /guide/rate-limiting,
// /guide/jobs/prioritized, /guide/queues/auto-removal-of-jobs
import { Queue, Worker } from "bullmq";

const PRIORITY = { N: undefined, H: 1, B: 10 };
const options = (name) => ({
  removeOnComplete: true,
  ...(PRIORITY[name[0]] && { priority: PRIORITY[name[0]] }),
});

export async function open({ port }) {
  const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
  const queue = new Queue("jobs", { connection });
  queue.on("error", () => {});
  await queue.waitUntilReady();
  return {
    add: (name, body) => queue.add("post", { n: name, body }, options(name)),
    fill: (jobs) =>
      queue.addBulk(
        jobs.map(({ name, body }) => ({
          name: "post",
          data: { n: name, body },
          opts: options(name),
        })),
      ),
    async worker({ concurrency, limiter }, post) {
      const worker = new Worker("jobs", (job) => post(job.data.n, job.data.body), {
        connection,
        concurrency,
        limiter,
        autorun: false,
      });
      worker.on("error", () => {});
      await worker.waitUntilReady();
      return (done) => {
        worker.on("completed", done);
        worker.run();
      };
    },
    settled: async () => true,
  };
}
