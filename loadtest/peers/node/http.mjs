// A keep-alive HTTP/1.1 client that does as little as one can: every worker posts with it, and
// Tollgate's producers do, so that no peer pays for a slow client.
import net from "node:net";

class Connection {
  constructor(port, free) {
    this.socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    this.text = "";
    this.waiting = null;
    this.socket.setEncoding("latin1");
    this.socket.on("data", (chunk) => this.read(chunk, free));
    const broken = (error) => {
      this.broken ??= error ?? new Error("the connection was closed");
      const waiting = this.waiting;
      this.waiting = null;
      if (!waiting) return;
      waiting.reject(this.broken);
      free(this);
    };
    this.socket.on("error", broken);
    this.socket.on("close", () => broken());
  }

  send(request, waiting) {
    this.waiting = waiting;
    this.socket.write(request);
  }

  read(chunk, free) {
    this.text += chunk;
    const end = this.text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.text.slice(0, end + 2));
    const all = end + 4 + Number(length?.[1] ?? 0);
    if (this.text.length < all) return;
    const { resolve } = this.waiting;
    const status = Number(this.text.slice(9, 12));
    const body = this.text.slice(end + 4, all);
    this.text = this.text.slice(all);
    this.waiting = null;
    free(this);
    resolve({ status, body });
  }
}

/** At most `size` requests at once; further ones wait for their turn. */
export class Pool {
  constructor(port, size) {
    this.port = port;
    this.queue = [];
    this.idle = [];
    // A broken one keeps its place, and is opened anew when it is needed.
    this.free = (connection) => {
      const next = this.queue.shift();
      if (next) this.whole(connection).send(next.request, next);
      else this.idle.push(connection);
    };
    for (let n = 0; n < size; n++) this.idle.push(new Connection(port, this.free));
  }

  /** `body` is ASCII. Resolves to `{ status, body }`. */
  post(path, body, type = "application/json") {
    const request =
      `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${this.port}\r\ncontent-type: ${type}\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`;
    return new Promise((resolve, reject) => {
      const waiting = { request, resolve, reject };
      const connection = this.idle.pop();
      if (connection) this.whole(connection).send(request, waiting);
      else this.queue.push(waiting);
    });
  }

  whole(connection) {
    return connection.broken ? new Connection(this.port, this.free) : connection;
  }
}
