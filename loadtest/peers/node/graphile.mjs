// https://worker.graphile.org/docs/performance (localQueue, batched completion), /docs/library/add-job
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const PRIORITY = { N: 5, H: 1, B: 10 };

export async function open({ port, connections, user, share }) {
  const pgPool = new pg.Pool({ host: "127.0.0.1", port, user, database: "postgres", max: connections });
  pgPool.on("error", () => {});
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  // Connections are made before the clock starts.
  const clients = await Promise.all(Array.from({ length: connections }, () => pgPool.connect()));
  for (const client of clients) client.release();
  const spec = ({ name, body }) => ({
    identifier: "post",
    payload: { n: name, body },
    priority: PRIORITY[name[0]],
  });
  // Jobs that are handed in while a transaction runs share the next one; each waits for its own.
  let waiting = [];
  let busy = false;
  const flush = async () => {
    busy = true;
    while (waiting.length) {
      const batch = waiting;
      waiting = [];
      await utils.addJobs(batch.map(spec)).then(
        () => batch.forEach(({ resolve }) => resolve()),
        (error) => batch.forEach(({ reject }) => reject(error)),
      );
    }
    busy = false;
  };
  const shared = (name, body) =>
    new Promise((resolve, reject) => {
      waiting.push({ name, body, resolve, reject });
      if (!busy) flush();
    });
  const single = (name, body) =>
    utils.addJob("post", { n: name, body }, { priority: PRIORITY[name[0]] });
  return {
    add: share ? shared : single,
    async worker({ concurrency, localQueue, batchDelay }, post) {
      return (done) =>
        run({
          pgPool,
          logger,
          concurrency,
          noHandleSignals: true,
          preset: {
            worker: {
              localQueue: { size: localQueue },
              completeJobBatchDelay: batchDelay,
              failJobBatchDelay: batchDelay,
            },
          },
          taskList: {
            post: async ({ n, body }) => {
              await post(n, body);
              done();
            },
          },
        });
    },
    /** Completion is written in batches, after the task has returned. */
    async settled() {
      const left = await pgPool.query("select 1 from graphile_worker._private_jobs limit 1");
      return left.rowCount === 0;
    },
  };
}
