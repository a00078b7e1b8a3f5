// ioredis, as survive.py wants it.
import assert from "node:assert/strict";
import Redis from "ioredis";

const WORKERS = 16;

const steps = {
  async strings(c) {
    assert.equal(await c.set("s", "value"), "OK");
    assert.equal(await c.get("s"), "value");
    assert.equal(await c.get("s:missing"), null);
    assert.equal(await c.set("s", "other", "NX"), null);
    assert.deepEqual([await c.exists("s"), await c.del("s"), await c.get("s")], [1, 1, null]);
  },

  async counters(c) {
    await c.del("n");
    assert.deepEqual([await c.incr("n"), await c.incr("n"), await c.incrby("n", 40), await c.decr("n")], [1, 2, 42, 41]);
    await c.set("n", "text");
    await assert.rejects(c.incr("n"), { message: "ERR value is not an integer or out of range" });
  },

  async expiry(c) {
    const lives = async () => {
      const ttl = await c.ttl("e");
      assert.ok(ttl > 0 && ttl <= 100, `TTL ${ttl}`);
    };
    assert.equal(await c.set("e", "value", "EX", 100), "OK");
    await lives();
    assert.deepEqual([await c.persist("e"), await c.ttl("e"), await c.expire("e", 50)], [1, -1, 1]);
    await lives();
    await c.set("e", "value", "PX", 1);
    const until = Date.now() + 10_000;
    while ((await c.get("e")) !== null) assert.ok(Date.now() < until, "a key of a millisecond is there after ten seconds");
    assert.equal(await c.ttl("e"), -2);
  },

  async transactions(c) {
    assert.deepEqual(await c.multi().set("{t}a", 1).incr("{t}a").get("{t}a").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
    // WATCH is the connection's: in a cluster, that of the node which has the slot.
    const own = c.isCluster ? c.nodes("master")[0] : c;
    await own.watch("{t}a");
    const before = Number(await own.get("{t}a"));
    assert.deepEqual(await own.multi().set("{t}b", before + 1).exec(), [[null, "OK"]]);
    await own.watch("{t}a");
    await c.set("{t}a", "changed");
    assert.equal(await own.multi().set("{t}b", "lost").exec(), null);
    assert.equal(await c.get("{t}b"), "3");
  },

  async pipelines(c) {
    await c.del("{p}n");
    const p = c.pipeline();
    for (let n = 0; n < 100; n++) p.incr("{p}n").get("{p}n");
    const expected = Array.from({ length: 100 }, (_, n) => [[null, n + 1], [null, `${n + 1}`]]).flat();
    assert.deepEqual(await p.exec(), expected);
  },
};

async function worker(c, key, running) {
  let [acknowledged, undetermined] = [0, 0];
  while (running()) {
    try {
      await c.incr(key);
      acknowledged++;
    } catch (e) {
      if (e.message.startsWith("UNDETERMINED")) undetermined++;
      else console.log("error", e.message);
    }
  }
  return `worker ${acknowledged} ${undetermined}`;
}

const [mode, port, ...names] = process.argv.slice(2);
const node = { host: "127.0.0.1", port: Number(port) };
const c = mode === "plain" ? new Redis(node) : new Redis.Cluster([node]);
for (const name of names) await steps[name](c);
let running = true;
process.stdin.resume().on("end", () => (running = false));
const workers = Array.from({ length: WORKERS }, (_, n) => worker(c, `counter:${mode}:${n}`, () => running));
console.log("ready");
console.log((await Promise.all(workers)).join("\n"));
c.disconnect();
