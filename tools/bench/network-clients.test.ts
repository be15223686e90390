import { describe, expect, test } from 'vitest';
import { parseIperf, parseWrk } from './network-clients.ts';

const REPORT = `Running 60s test @ http://127.0.0.1:8080/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.10ms    1.21ms  20.01ms   80.00%
    Req/Sec     5.10k   300.00     6.00k    70.00%
  Latency Distribution
     50%    3.00ms
     75%    3.50ms
     90%    4.00ms
     99%    7.25ms
  306000 requests in 1.00m, 247.00MB read
`;

describe('the report of wrk', () => {
  test('says how many requests there were, and that none failed', () => {
    const report = parseWrk(`${REPORT}Requests/sec:   5100.50\nTransfer/sec:      4.00MB\n`);
    expect(report).toMatchObject({ perSecond: 5100.5, failed: 0 });
    expect(report.megabytesPerSecond).toBeCloseTo(4.194, 3);
    expect(report.says).toBe('0 failed of 306000 in 1.00m, 99 % within 7.25ms');
  });

  test('counts what failed, in whatever way', () => {
    const errors = '  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\n';
    const report = parseWrk(`${REPORT}${errors}Requests/sec:   5100.50\nTransfer/sec:    512.00KB\n`);
    expect(report.failed).toBe(54_321);
    expect(report.megabytesPerSecond).toBeCloseTo(0.524, 3);
  });

  test('is nothing else', () => {
    expect(() => parseWrk('unable to connect to 127.0.0.1:1 Connection refused')).toThrow('no report of wrk');
  });
});

describe('the report of iperf3', () => {
  test('says what arrived', () => {
    expect(parseIperf('{"end":{"sum_sent":{"bits_per_second":3},"sum_received":{"bits_per_second":2.5e9}}}')).toBe(
      2.5e9,
    );
  });

  test.each(['{"error":"unable to connect to server"}', '{"end":{}}'])('%s is none', (text) => {
    expect(() => parseIperf(text)).toThrow('iperf3 says');
  });
});
