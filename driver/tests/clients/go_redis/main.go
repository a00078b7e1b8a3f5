// go-redis, as survive.py wants it. Version 5, Debian's golang-gopkg-redis.v5-dev: later ones come only by the Go module proxy.
package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopkg.in/redis.v5"
)

const workers = 16

// Above the longest that a command may take while a leader is looked for; the default is three seconds.
const readTimeout = 10 * time.Second

// What the clients of both modes have.
type client interface {
	redis.Cmdable
	Watch(fn func(*redis.Tx) error, keys ...string) error
	TxPipelined(fn func(*redis.Pipeline) error) ([]redis.Cmder, error)
}

func check(holds bool, what ...interface{}) {
	if !holds {
		fmt.Println(what...)
		os.Exit(1)
	}
}

func equal(got, expected interface{}) {
	check(reflect.DeepEqual(got, expected), "got", got, "and not", expected)
}

// Each reply of a pipeline.
func values(commands []redis.Cmder, err error) []interface{} {
	check(err == nil, err)
	var all []interface{}
	for _, command := range commands {
		switch c := command.(type) {
		case *redis.StatusCmd:
			all = append(all, c.Val())
		case *redis.StringCmd:
			all = append(all, c.Val())
		case *redis.IntCmd:
			all = append(all, c.Val())
		}
	}
	return all
}

var steps = map[string]func(client){
	"strings": func(c client) {
		equal(c.Set("s", "value", 0).Val(), "OK")
		equal(c.Get("s").Val(), "value")
		equal(c.Get("s:missing").Err(), redis.Nil)
		equal(c.SetNX("s", "other", 0).Val(), false)
		equal(c.Exists("s").Val(), true)
		equal(c.Del("s").Val(), int64(1))
		equal(c.Get("s").Err(), redis.Nil)
	},
	"counters": func(c client) {
		c.Del("n")
		equal([]int64{c.Incr("n").Val(), c.Incr("n").Val(), c.IncrBy("n", 40).Val(), c.Decr("n").Val()}, []int64{1, 2, 42, 41})
		c.Set("n", "text", 0)
		equal(c.Incr("n").Err().Error(), "ERR value is not an integer or out of range")
	},
	"expiry": func(c client) {
		lives := func() {
			ttl := c.TTL("e").Val()
			check(ttl > 0 && ttl <= 100*time.Second, "TTL", ttl)
		}
		equal(c.Set("e", "value", 100*time.Second).Val(), "OK")
		lives()
		equal(c.Persist("e").Val(), true)
		equal(c.TTL("e").Val(), -time.Second)
		equal(c.Expire("e", 50*time.Second).Val(), true)
		lives()
		equal(c.Set("e", "value", time.Millisecond).Val(), "OK")
		for until := time.Now().Add(10 * time.Second); c.Get("e").Err() != redis.Nil; {
			check(time.Now().Before(until), "a key of a millisecond is there after ten seconds")
		}
		equal(c.TTL("e").Val(), -2*time.Second)
	},
	"transactions": func(c client) {
		equal(values(c.TxPipelined(func(p *redis.Pipeline) error {
			p.Set("{t}a", 1, 0)
			p.Incr("{t}a")
			p.Get("{t}a")
			return nil
		})), []interface{}{"OK", int64(2), "2"})
		equal(c.Watch(func(tx *redis.Tx) error {
			before, err := tx.Get("{t}a").Int64()
			check(err == nil, err)
			_, err = tx.Pipelined(func(p *redis.Pipeline) error { return p.Set("{t}b", before+1, 0).Err() })
			return err
		}, "{t}a"), nil)
		equal(c.Watch(func(tx *redis.Tx) error {
			c.Set("{t}a", "changed", 0)
			_, err := tx.Pipelined(func(p *redis.Pipeline) error { return p.Set("{t}b", "lost", 0).Err() })
			return err
		}, "{t}a"), redis.TxFailedErr)
		equal(c.Get("{t}b").Val(), "3")
	},
	"pipelines": func(c client) {
		c.Del("{p}n")
		var expected []interface{}
		equal(values(c.Pipelined(func(p *redis.Pipeline) error {
			for n := 1; n <= 100; n++ {
				p.Incr("{p}n")
				p.Get("{p}n")
				expected = append(expected, int64(n), fmt.Sprint(n))
			}
			return nil
		})), expected)
	},
}

func work(c client, key string, stopped *int32) (acknowledged, undetermined int) {
	for atomic.LoadInt32(stopped) == 0 {
		if err := c.Incr(key).Err(); err == nil {
			acknowledged++
		} else if strings.HasPrefix(err.Error(), "UNDETERMINED") {
			undetermined++
		} else {
			fmt.Println("error", err)
			time.Sleep(10 * time.Millisecond)
		}
	}
	return
}

func main() {
	mode, address := os.Args[1], "127.0.0.1:"+os.Args[2]
	var c client
	if mode == "plain" {
		c = redis.NewClient(&redis.Options{Addr: address, ReadTimeout: readTimeout, PoolSize: workers})
	} else {
		c = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{address}, ReadTimeout: readTimeout, PoolSize: workers})
	}
	for _, name := range os.Args[3:] {
		steps[name](c)
	}
	var stopped int32
	var all sync.WaitGroup
	var lines [workers]string
	for n := range lines {
		all.Add(1)
		go func(n int) {
			acknowledged, undetermined := work(c, fmt.Sprintf("counter:%s:%d", mode, n), &stopped)
			lines[n] = fmt.Sprintln("worker", acknowledged, undetermined)
			all.Done()
		}(n)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	atomic.StoreInt32(&stopped, 1)
	all.Wait()
	fmt.Print(strings.Join(lines[:], ""))
}
