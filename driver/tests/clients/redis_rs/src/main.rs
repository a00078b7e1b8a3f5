//! redis-rs, as survive.py wants it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisError, RedisResult, pipe};
use tokio::io::{AsyncReadExt, stdin};
use tokio::task::LocalSet;

const WORKERS: usize = 16;

/// Above the longest that a command may take while a leader is looked for; the default is half a second.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

async fn strings<C: ConnectionLike + Send + Sync>(c: &mut C) -> RedisResult<()> {
    let () = c.set("s", "value").await?;
    assert_eq!(c.get::<_, Option<String>>("s").await?.as_deref(), Some("value"));
    assert_eq!(c.get::<_, Option<String>>("s:missing").await?, None);
    assert!(!c.set_nx::<_, _, bool>("s", "other").await?);
    assert!(c.exists::<_, bool>("s").await? && c.del::<_, bool>("s").await?);
    assert_eq!(c.get::<_, Option<String>>("s").await?, None);
    Ok(())
}

async fn counters<C: ConnectionLike + Send + Sync>(c: &mut C) -> RedisResult<()> {
    let () = c.del("n").await?;
    assert_eq!(c.incr::<_, _, i64>("n", 1).await?, 1);
    assert_eq!(c.incr::<_, _, i64>("n", 41).await?, 42);
    assert_eq!(c.decr::<_, _, i64>("n", 1).await?, 41);
    let () = c.set("n", "text").await?;
    let error = c.incr::<_, _, i64>("n", 1).await.unwrap_err();
    assert_eq!(
        (error.code(), error.detail()),
        (Some("ERR"), Some("value is not an integer or out of range"))
    );
    Ok(())
}

async fn expiry<C: ConnectionLike + Send + Sync>(c: &mut C) -> RedisResult<()> {
    let () = c.set_ex("e", "value", 100).await?;
    assert!((1..=100).contains(&c.ttl::<_, i64>("e").await?));
    assert!(c.persist::<_, bool>("e").await?);
    assert_eq!(c.ttl::<_, i64>("e").await?, -1);
    assert!(c.expire::<_, bool>("e", 50).await?);
    assert!((1..=50).contains(&c.ttl::<_, i64>("e").await?));
    let () = c.pset_ex("e", "value", 1).await?;
    let until = Instant::now() + Duration::from_secs(10);
    while c.exists("e").await? {
        assert!(Instant::now() < until, "a key of a millisecond is there after ten seconds");
    }
    assert_eq!(c.ttl::<_, i64>("e").await?, -2);
    Ok(())
}

async fn transactions<C: ConnectionLike + Send + Sync>(c: &mut C) -> RedisResult<()> {
    let replies: (String, i64, String) =
        pipe().atomic().set("{t}a", 1).incr("{t}a", 1).get("{t}a").query_async(c).await?;
    assert_eq!(replies, ("OK".into(), 2, "2".into()));
    let () = redis::cmd("WATCH").arg("{t}a").query_async(c).await?;
    let before: i64 = c.get("{t}a").await?;
    let done: Option<(String,)> = pipe().atomic().set("{t}b", before + 1).query_async(c).await?;
    assert_eq!(done, Some(("OK".into(),)));
    let () = redis::cmd("WATCH").arg("{t}a").query_async(c).await?;
    let () = c.set("{t}a", "changed").await?;
    let done: Option<(String,)> = pipe().atomic().set("{t}b", "lost").query_async(c).await?;
    assert_eq!(done, None, "a watched key had changed");
    assert_eq!(c.get::<_, String>("{t}b").await?, "3");
    Ok(())
}

async fn pipelines<C: ConnectionLike + Send + Sync>(c: &mut C) -> RedisResult<()> {
    let () = c.del("{p}n").await?;
    let mut pipe = pipe();
    for _ in 0..100 {
        pipe.incr("{p}n", 1).get("{p}n");
    }
    let replies: Vec<i64> = pipe.query_async(c).await?;
    assert_eq!(replies, (1..=100).flat_map(|n| [n, n]).collect::<Vec<_>>());
    Ok(())
}

async fn worker<C: ConnectionLike + Send + Sync>(
    mut c: C,
    key: String,
    stopped: Rc<Cell<bool>>,
) -> (u64, u64) {
    let (mut acknowledged, mut undetermined) = (0, 0);
    while !stopped.get() {
        match c.incr::<_, _, i64>(&key, 1).await {
            Ok(_) => acknowledged += 1,
            Err(error) if is_undetermined(&error) => undetermined += 1,
            Err(error) => {
                println!("error {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    (acknowledged, undetermined)
}

fn is_undetermined(error: &RedisError) -> bool {
    error.code() == Some("UNDETERMINED")
}

async fn run<C: ConnectionLike + Clone + Send + Sync + 'static>(
    mut c: C,
    mode: &str,
    steps: &[String],
) -> RedisResult<()> {
    for step in steps {
        match step.as_str() {
            "strings" => strings(&mut c).await?,
            "counters" => counters(&mut c).await?,
            "expiry" => expiry(&mut c).await?,
            "transactions" => transactions(&mut c).await?,
            "pipelines" => pipelines(&mut c).await?,
            other => panic!("no step {other}"),
        }
    }
    let (stopped, counts) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new([(0, 0); WORKERS])));
    let workers = LocalSet::new();
    for n in 0..WORKERS {
        let work = worker(c.clone(), format!("counter:{mode}:{n}"), Rc::clone(&stopped));
        let counts = Rc::clone(&counts);
        workers.spawn_local(async move {
            let count = work.await;
            counts.borrow_mut()[n] = count;
        });
    }
    println!("ready");
    let stop = async { stdin().read_to_end(&mut Vec::new()).await };
    workers.run_until(stop).await?;
    stopped.set(true);
    workers.await;
    for (acknowledged, undetermined) in *counts.borrow() {
        println!("worker {acknowledged} {undetermined}");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> RedisResult<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, port, steps @ ..] = &arguments[..] else { panic!("MODE PORT STEP...") };
    let address = format!("redis://127.0.0.1:{port}/");
    if mode == "plain" {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
        let c = Client::open(address)?.get_multiplexed_async_connection_with_config(&config).await?;
        run(c, mode, steps).await
    } else {
        let client = ClusterClientBuilder::new([address]).response_timeout(RESPONSE_TIMEOUT).build()?;
        run(client.get_async_connection().await?, mode, steps).await
    }
}
