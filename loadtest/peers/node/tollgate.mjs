import { Pool } from "./http.mjs";

const PRIORITY = { N: "NORMAL", H: "HIGH", B: "BATCH" };
const job = (name, body) =>
  `{"target":"t","priority":"${PRIORITY[name[0]]}","path":"/n/${name}","body":${body}}`;

export async function open({ port, producers }) {
  const pool = new Pool(port, producers);
  return {
    async add(name, body) {
      const answer = await pool.post("/v1/jobs", job(name, body));
      if (answer.status !== 202) throw new Error(`${answer.status} ${answer.body}`);
    },
    async fill(jobs) {
      const all = `[${jobs.map(({ name, body }) => job(name, body)).join(",")}]`;
      const answer = await pool.post("/v1/jobs/batch", all);
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
    },
  };
}
