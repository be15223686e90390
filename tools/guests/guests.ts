/** The programs, and what each of them has to do. */

import { request } from 'node:http';
import { createServer } from 'node:net';
import type { VMOptions } from '@ringfence/host';
import { inGuest, script, start } from './in-guest.ts';
import { postgresql } from './postgresql.ts';

export interface Guest {
  readonly name: string;
  readonly summary: string;
  readonly packages: readonly string[];
  /** Does it; gives a sentence about it or throws. */
  readonly run: (image: VMOptions) => Promise<string>;
}

const C_PROGRAM = String.raw`
cat >/tmp/primes.c <<'END'
#include <math.h>
#include <pthread.h>
#include <stdio.h>
static void *count(void *from) {
  long found = 0;
  for (long n = (long)from; n < 200000; n += 4) {
    long d = 2;
    while (d <= (long)sqrt((double)n) && n % d != 0) d++;
    if (n > 1 && d > (long)sqrt((double)n)) found++;
  }
  return (void *)found;
}
int main(void) {
  pthread_t threads[4];
  long sum = 0;
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, count, (void *)i);
  for (int i = 0; i < 4; i++) { void *found; pthread_join(threads[i], &found); sum += (long)found; }
  printf("%ld primes\n", sum);
  return sum == 17984 ? 0 : 1;
}
END
gcc -O2 -Wall -Werror -o /tmp/primes /tmp/primes.c -lm
/tmp/primes
gcc --version | head -1`;

const NODE_PROGRAM = String.raw`
cat >/tmp/program.js <<'END'
const { createHash } = require('crypto');
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) {
  let x = 1;
  for (let i = 0; i < 3e6; i++) x = (x * 1103515245 + 12345) % 2147483648;
  parentPort.postMessage(x);
} else {
  const list = Array.from({ length: 20000 }, (_, i) => ({ key: String((i * 7919) % 20011), value: i }));
  list.sort((a, b) => a.key.localeCompare(b.key));
  const hash = createHash('sha256').update(JSON.stringify(list)).digest('hex');
  const done = [1, 2].map(() => new Promise((resolve, reject) => {
    new Worker(__filename).on('message', resolve).on('error', reject);
  }));
  Promise.all(done).then(([a, b]) => {
    if (a !== b) throw new Error('workers disagree');
    console.log('node ' + process.version + ' ' + process.arch + ' ' + hash.slice(0, 16) + ' ' + a);
  });
}
END
node /tmp/program.js`;

const JAVA_PROGRAM = String.raw`
mkdir -p /tmp/java && cd /tmp/java
cat >Main.java <<'END'
import java.util.*;
import java.util.concurrent.*;
public class Main {
  public static void main(String[] words) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    List<Future<Long>> results = new ArrayList<>();
    for (int t = 0; t < 8; t++) {
      final int seed = t;
      results.add(pool.submit(() -> {
        Map<Integer, byte[]> kept = new HashMap<>();
        Random random = new Random(seed);
        long sum = 0;
        for (int i = 0; i < 40000; i++) {
          kept.put(random.nextInt(500), new byte[random.nextInt(8192)]);
          sum += kept.size();
        }
        return sum;
      }));
    }
    long total = 0;
    for (Future<Long> result : results) total += result.get();
    pool.shutdown();
    System.gc();
    long collections = java.lang.management.ManagementFactory.getGarbageCollectorMXBeans().stream()
        .mapToLong(java.lang.management.GarbageCollectorMXBean::getCollectionCount).sum();
    System.out.println("java " + System.getProperty("java.version") + ", sum " + total + ", " + collections + " collections");
    if (collections < 2) System.exit(1);
  }
}
END
javac Main.java
printf 'Main-Class: Main\n' >manifest
jar cfm main.jar manifest Main*.class
java -Xmx192m -jar main.jar`;

const PYTHON_TESTS =
  'test_float test_math test_int test_long test_struct test_hashlib test_zlib test_thread test_threading test_asyncio test_socket test_subprocess test_json test_re test_statistics test_decimal test_signal test_mmap';

/**
 * The package with the tests has the version in its name, which is another one in each suite: so the guest installs it. A file of tests that failed is run again
 * by itself, as CPython's own builders do: some of asyncio's give up after five seconds, however busy the computer is.
 */
const PYTHON_PROGRAM = String.raw`
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/tmp/log 2>&1 && apt-get -q -y install --no-install-recommends python3 >>/tmp/log 2>&1 &&
  apt-get -q -y install "lib$(basename "$(readlink -f /usr/bin/python3)")-testsuite" >>/tmp/log 2>&1 || { tail -40 /tmp/log >&2; exit 1; }
python3 -m test --rerun --timeout 1800 ${PYTHON_TESTS} >/tmp/log 2>&1 || { tail -40 /tmp/log >&2; exit 1; }
echo "$(python3 --version), $(grep 'tests OK' /tmp/log)"`;

/** Every kind of stress once for each processor; the kernel must not have waited too long for one of them. */
const stress = (cpus: number): string => String.raw`
[ "$(nproc)" = ${cpus} ]
stress-ng --verify --cpu ${cpus} --vm ${cpus} --vm-bytes 128M --fork ${cpus} --signal ${cpus} --atomic ${cpus} --timeout 90s --metrics-brief >/tmp/log 2>&1 || { tail -40 /tmp/log >&2; exit 1; }
if grep -iE 'fail|error|corrupt' /tmp/log | grep -vE 'failed: 0|skipped: 0' >&2; then exit 1; fi
if dmesg | grep -E 'detected stall|lockup|blocked for more than|BUG:|Oops' >&2; then exit 1; fi
grep -oE '(passed|failed): [0-9]+[^;]*' /tmp/log | tr '
' ';'`;

export const GUESTS: readonly Guest[] = [
  {
    name: 'gcc',
    summary: 'gcc compiles a C program with threads, which runs',
    packages: ['gcc', 'libc6-dev'],
    run: inGuest(C_PROGRAM),
  },
  {
    name: 'nodejs',
    summary: 'Node.js for riscv64 runs a script with workers: a JIT in our JIT',
    packages: ['nodejs'],
    run: inGuest(NODE_PROGRAM, { cpus: 2, memory: '1536M' }),
  },
  {
    name: 'java',
    summary: 'OpenJDK compiles and runs a jar with threads and garbage collection',
    packages: ['default-jdk-headless'],
    run: inGuest(JAVA_PROGRAM, { cpus: 2, memory: '1536M' }),
  },
  {
    name: 'python',
    summary: "CPython's own regression tests",
    packages: [],
    run: inGuest(PYTHON_PROGRAM, { cpus: 2, memory: '1536M' }),
  },
  {
    name: 'postgresql',
    summary: 'PostgreSQL passes pgbench and survives a kill of its machine',
    packages: ['postgresql'],
    run: postgresql,
  },
  {
    name: 'stress-ng',
    summary: 'stress-ng finds nothing wrong with two processors',
    packages: ['stress-ng'],
    run: inGuest(stress(2), { cpus: 2, memory: '1G' }),
  },
  {
    name: 'stress-ng-8',
    summary: 'stress-ng finds nothing wrong with eight processors, and no processor waits too long for another',
    packages: ['stress-ng'],
    run: inGuest(stress(8), { cpus: 8, memory: '2G' }),
  },
  {
    name: 'nginx',
    summary: 'nginx answers on this computer through a published port',
    packages: ['nginx'],
    run: nginx,
  },
  {
    name: 'apt',
    summary: 'apt-get update and install through the NAT',
    packages: [],
    run: inGuest('apt-get -q update && apt-get -q -y install hello && hello'),
  },
];

async function nginx(image: VMOptions): Promise<string> {
  const port = await freePort();
  await using vm = await start({ ...image, publish: [`${port}:80`] });
  await script(vm, 'systemctl start nginx; echo "<h1>from the guest</h1>" >/var/www/html/index.html');
  const startedAt = performance.now();
  const count = 200;
  for (let done = 0; done < count; done++) {
    const { status, body, server } = await get(port);
    if (status !== 200 || !body.includes('from the guest') || !server.startsWith('nginx'))
      throw new Error(`request ${done + 1} was answered with ${status} by "${server}": ${body.slice(0, 80)}`);
  }
  return `${count} requests, ${Math.round(count / ((performance.now() - startedAt) / 1000))} a second one after the other`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function get(port: number): Promise<{ status: number; body: string; server: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: '/', timeout: 30_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body, server: String(response.headers.server ?? '') }),
      );
      response.on('error', reject);
    });
    asked.on('timeout', () => asked.destroy(new Error('nothing was answered for 30 s')));
    asked.on('error', reject);
    asked.end();
  });
}
