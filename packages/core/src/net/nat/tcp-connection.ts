/**
 * One TCP connection between a guest and the gateway (RFC 9293), of which the gateway is the one end; behind it is a connection of the
 * host, and bytes go from one to the other.
 *
 *     guest  <== segments ==>  TcpConnection  <== bytes ==>  HostTcp  (a socket of the host)
 *
 * Between the two lies no wire but a ring in memory. It loses nothing as long as both sides keep to their windows, and refuses frames when
 * the guest has no buffers; so there is no congestion control until something was lost after all, and no reassembly: segments out of
 * order are answered and dropped, as RFC 9293, 3.10.7.4 allows.
 *
 * Either side's pressure reaches the other: the guest's window closes while the host's socket does not take what the guest sent, and the
 * host's socket is paused while the guest does not.
 */

import type { HostFailure, HostTcp, NetworkTimers, TcpEvents } from '../host.ts';
import { TCP, type TcpSegment } from '../tcp-segment.ts';
import type { ByteBudget } from './byte-budget.ts';
import { HostReads } from './host-reads.ts';
import { RetransmissionTimeout } from './retransmission-timeout.ts';
import { SendQueue } from './send-queue.ts';
import { distance } from './sequence-numbers.ts';

/** Bytes of a guest that may wait for the host's socket: the window that the guest sees. */
export const RECEIVE_WINDOW_BYTES = 1024 * 1024;
/** The window that a guest sees though other connections have used up what all have together (TcpPath.receiving). */
export const MINIMUM_WINDOW_BYTES = 16 * 1024;
/** The unit of our windows is 2^5 octets, so that one of 1 MiB can be told (RFC 7323, 2.3). */
const RECEIVE_WINDOW_SCALE = 5;
/** A guest that says nothing takes segments of this size (RFC 9293, 3.7.1). */
const DEFAULT_SEGMENT_BYTES = 536;
const MINIMUM_SEGMENT_BYTES = 88;
/** An answer to data may wait this long for data to go with it (RFC 9293, 3.8.6.3 allows 500 ms). */
const DELAYED_ACK_MS = 10;
/** Duplicate acknowledgements that mean a loss (RFC 5681, 3.2). */
const DUPLICATE_ACKS = 3;
/** A segment is sent again so many times before the guest counts as gone. */
export const MAXIMUM_RETRANSMISSIONS = 12;
/** For a SYN, which somebody waits for. */
export const MAXIMUM_SYN_RETRANSMISSIONS = 5;
/** How long a closed connection answers late segments. Nothing is on its way for long here. */
export const TIME_WAIT_MS = 1000;
/** How long a guest may keep its half open when there is nobody behind ours any more. */
export const FIN_WAIT_MS = 60_000;

/** What goes out: a header's content and a part of a queue. */
export interface OutgoingSegment {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  readonly maximumSegmentBytes?: number | undefined;
  readonly windowScale?: number | undefined;
  readonly data?: { readonly queue: SendQueue; readonly offset: number; readonly length: number };
  /** The guest's largest segment: longer data is to be cut. */
  readonly segmentBytes: number;
}

/** What a connection stands on. */
export interface TcpPath {
  readonly timers: NetworkTimers;
  /** For what guests may send and hosts' sockets have not taken: with nothing left, windows stay small. */
  readonly receiving: ByteBudget;
  /** For what waits for guests: with nothing left, hosts' sockets are paused as soon as anything waits. */
  readonly sending: ByteBudget;
  /** The largest segment that this side takes. */
  readonly ownSegmentBytes: number;
  /** The most data that one frame may have. */
  readonly maximumDataBytes: number;
  /** Sends a segment towards the guest; false when there is no room: then `TcpConnection.roomAgain` is called later. */
  send(segment: OutgoingSegment): boolean;
  /** `deadlineMs` has come nearer. */
  deadlineChanged(deadlineMs: number): void;
  /** At the end of the burst `TcpConnection.burstEnded` is to be called. */
  answerLater(): void;
  /** The connection is no more. */
  closed(): void;
  /** The guest could not be reached from outside, or an outside could not be reached for the guest. */
  unreachable(): void;
}

type State =
  /** The guest asked for it, and the host's socket is not connected yet. */
  | 'connecting'
  | 'syn-received'
  | 'syn-sent'
  /** Both have agreed; who has sent or got a FIN is kept apart. */
  | 'established'
  | 'time-wait'
  | 'closed';

export class TcpConnection implements TcpEvents {
  readonly #path: TcpPath;
  #host: HostTcp | undefined;
  #state: State;
  #lastHeardMs: number;

  // Towards the guest; names as in RFC 9293, 3.3.1.
  readonly #queue = new SendQueue();
  #sndUna: number;
  #sndNxt: number;
  /** The highest that SND.NXT ever was: it goes back when something was lost. */
  #sndMax: number;
  #sndWnd = 0;
  #sndWl1 = 0;
  #sndWl2 = 0;
  #sndScale = 0;
  /** Our SYN is not acknowledged yet. */
  #isOpening = true;
  #segmentBytes = DEFAULT_SEGMENT_BYTES;
  readonly #timeout = new RetransmissionTimeout();
  #retransmissions = 0;
  #duplicateAcks = 0;
  /** After a loss, how much may be under way; it grows until everything sent before the loss has arrived. */
  #congestionWindow = Infinity;
  #recoveryPoint = 0;
  /** The host will send no more. */
  #hostEnded = false;
  #finSent = false;
  #finAcknowledged = false;

  // From the guest.
  #rcvNxt = 0;
  /** The end of the window that the guest was told. */
  #rcvEdge = 0;
  #rcvScale = 0;
  #bytesToAnswer = 0;
  /** There was no room for an answer that could not wait. */
  #answerOwed = false;
  #guestEnded = false;
  #guestEndedFirst = false;

  #hostClosed = false;

  /** Says what it holds of the budget. */
  readonly #holdReceiving: (bytes: number) => void;
  readonly #reads: HostReads;

  #retransmitAtMs = Infinity;
  #answerAtMs = Infinity;
  #closeAtMs = Infinity;

  private constructor(path: TcpPath, state: State, initialSequence: number) {
    this.#path = path;
    this.#state = state;
    this.#sndUna = this.#sndNxt = this.#sndMax = initialSequence;
    this.#lastHeardMs = path.timers.nowMs();
    this.#holdReceiving = path.receiving.share();
    this.#reads = new HostReads(path.sending);
  }

  /** A guest sent a SYN. It is answered when the host's socket is connected. */
  static fromGuest(path: TcpPath, syn: TcpSegment, initialSequence: number): TcpConnection {
    const connection = new TcpConnection(path, 'connecting', initialSequence);
    connection.#takeSyn(syn);
    return connection;
  }

  /** Somebody came to a published port: the guest is sent a SYN. The host's socket is connected already. */
  static toGuest(path: TcpPath, initialSequence: number): TcpConnection {
    const connection = new TcpConnection(path, 'syn-sent', initialSequence);
    connection.#rcvScale = RECEIVE_WINDOW_SCALE;
    return connection;
  }

  get state(): State {
    return this.#state;
  }

  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  get deadlineMs(): number {
    return Math.min(this.#retransmitAtMs, this.#answerAtMs, this.#closeAtMs);
  }

  /** The host's end. Events may come from now on. */
  attach(host: HostTcp): void {
    this.#host = host;
    if (this.#state === 'syn-sent') this.#sendSyn();
    else if (this.#state === 'closed') host.reset();
  }

  // Events of the host.

  connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'syn-received';
    this.#sendSyn();
  }

  data(bytes: Uint8Array): void {
    if (this.#state === 'closed' || this.#hostEnded || bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#reads.came(bytes.length, this.#queue.length, this.#host);
    this.#output();
  }

  nextRead(): number {
    return this.#reads.next();
  }

  ended(): void {
    if (this.#state === 'closed' || this.#hostEnded) return;
    this.#hostEnded = true;
    this.#output();
  }

  written(): void {
    if (this.#state !== 'established' || this.#guestEnded) return;
    const opens = distance(this.#newEdge(), this.#rcvEdge);
    // By a good part of the window (RFC 9293, 3.8.6.2.2), or of the smallest one where no more than that is left.
    const isNarrow = this.#promised < MINIMUM_WINDOW_BYTES / 2;
    if (opens >= (isNarrow ? MINIMUM_WINDOW_BYTES / 2 : RECEIVE_WINDOW_BYTES / 4)) this.#sendAck();
  }

  closed(failure: HostFailure | undefined): void {
    this.#hostClosed = true;
    if (this.#state === 'closed') return;
    if (this.#state === 'connecting') {
      if (failure === 'unreachable' || failure === 'timed-out') this.#path.unreachable();
      // Whoever gets no answer to a SYN tries again; this one knows better.
      this.#reset();
    } else if (failure !== undefined || !this.#hostEnded) this.#reset();
    else if (this.#finAcknowledged && !this.#guestEnded) this.#closeLater(FIN_WAIT_MS);
  }

  // Events of the network.

  /** A segment of the guest for this connection. */
  segment(segment: TcpSegment): void {
    this.#lastHeardMs = this.#path.timers.nowMs();
    switch (this.#state) {
      case 'closed':
        return;
      case 'connecting':
        // A SYN sent again needs no answer: the first one is being answered.
        if ((segment.flags & TCP.RST) !== 0) this.#abandon();
        return;
      case 'syn-sent':
        this.#answerToSyn(segment);
        return;
      default:
        this.#arrives(segment);
    }
  }

  /** There is room where `TcpPath.send` said there was none. */
  roomAgain(): void {
    this.#output();
    if (this.#answerOwed) this.#sendAck();
  }

  /** The guest has sent all it had to send for now. */
  burstEnded(): void {
    if (this.#bytesToAnswer === 0 || this.#state === 'closed') return;
    if (this.#bytesToAnswer >= 2 * this.#path.ownSegmentBytes) this.#sendAck();
    else this.#setAnswer(this.#path.timers.nowMs() + DELAYED_ACK_MS);
  }

  /** A deadline has come. */
  alarm(nowMs: number): void {
    if (this.#closeAtMs <= nowMs + 1) {
      if (this.#state === 'time-wait') this.#finish();
      else this.#reset();
      return;
    }
    if (this.#answerAtMs <= nowMs + DELAYED_ACK_MS / 2) this.#sendAck();
    if (this.#retransmitAtMs <= nowMs + DELAYED_ACK_MS / 2) this.#expired();
  }

  /** Ends the connection from outside: the guest and the host see a reset. */
  abort(): void {
    if (this.#state !== 'closed') this.#reset();
  }

  // Opening.

  #takeSyn({ sequence, maximumSegmentBytes, windowScale, window }: TcpSegment): void {
    this.#rcvNxt = (sequence + 1) >>> 0;
    this.#rcvEdge = this.#rcvNxt;
    this.#segmentBytes = Math.max(MINIMUM_SEGMENT_BYTES, maximumSegmentBytes ?? DEFAULT_SEGMENT_BYTES);
    this.#segmentBytes = Math.min(this.#segmentBytes, this.#path.ownSegmentBytes);
    // Both scale or neither (RFC 7323, 2.2).
    this.#sndScale = windowScale ?? 0;
    this.#rcvScale = windowScale === undefined ? 0 : RECEIVE_WINDOW_SCALE;
    this.#sndWnd = window;
    this.#sndWl1 = sequence;
  }

  #sendSyn(): void {
    const isAnswer = this.#state === 'syn-received';
    const window = this.#path.receiving.left >= 0xffff ? 0xffff : MINIMUM_WINDOW_BYTES;
    this.#rcvEdge = isAnswer ? (this.#rcvNxt + window) >>> 0 : 0;
    if (isAnswer) this.#countReceiving();
    this.#sndNxt = (this.#sndUna + 1) >>> 0;
    this.#sndMax = this.#sndNxt;
    this.#path.send({
      sequence: this.#sndUna,
      acknowledgement: isAnswer ? this.#rcvNxt : 0,
      flags: isAnswer ? TCP.SYN | TCP.ACK : TCP.SYN,
      window,
      maximumSegmentBytes: this.#path.ownSegmentBytes,
      windowScale: this.#rcvScale > 0 ? this.#rcvScale : undefined,
      segmentBytes: this.#segmentBytes,
    });
    const nowMs = this.#path.timers.nowMs();
    if (this.#retransmissions === 0) this.#timeout.sent(this.#sndNxt, nowMs);
    this.#setRetransmit(nowMs + this.#timeout.timeoutMs);
  }

  /** RFC 9293, 3.10.7.3. Both sides opening at once does not happen: the gateway's ports are its own. */
  #answerToSyn(segment: TcpSegment): void {
    const { flags, acknowledgement } = segment;
    const isOurs = (flags & TCP.ACK) !== 0 && acknowledgement === this.#sndNxt;
    if ((flags & TCP.RST) !== 0) {
      if (isOurs) this.#abandon();
    } else if (isOurs && (flags & TCP.SYN) !== 0) {
      this.#takeSyn(segment);
      this.#acknowledged(acknowledgement);
      this.#sndWl2 = acknowledgement;
      this.#state = 'established';
      this.#sendAck();
      this.#output();
    } else if ((flags & TCP.ACK) !== 0) {
      this.#path.send({ ...BARE, sequence: acknowledgement, flags: TCP.RST, segmentBytes: this.#segmentBytes });
    }
  }

  // A segment in a synchronized state (RFC 9293, 3.10.7.4).

  #arrives(segment: TcpSegment): void {
    const { flags, sequence, data } = segment;
    const length = data.length + ((flags & TCP.SYN) !== 0 ? 1 : 0) + ((flags & TCP.FIN) !== 0 ? 1 : 0);
    if (!this.#isAcceptable(sequence, length)) {
      if ((flags & TCP.RST) === 0) this.#sendAck();
      return;
    }
    if ((flags & TCP.RST) !== 0) {
      // Only one that hits the mark; another may be a guess (RFC 5961, 3.2).
      if (sequence === this.#rcvNxt) this.#abandon();
      else this.#sendAck();
      return;
    }
    if ((flags & TCP.SYN) !== 0) return this.#sendAck();
    if ((flags & TCP.ACK) === 0 || !this.#takeAcknowledgement(segment)) return undefined;
    // What an acknowledgement ends takes no data any more.
    if (this.#isOver()) return undefined;
    if (length > 0) this.#takeData(segment);
    if (!this.#isOver()) this.#output();
    return undefined;
  }

  /** A method, for the state changes under the feet of the compiler. */
  #isOver(): boolean {
    return this.#state === 'closed';
  }

  #isAcceptable(sequence: number, length: number): boolean {
    const window = distance(this.#rcvEdge, this.#rcvNxt);
    const from = distance(sequence, this.#rcvNxt);
    if (length === 0) return from === 0 || (from > 0 && from < window);
    const last = from + length - 1;
    return window > 0 && ((from >= 0 && from < window) || (last >= 0 && last < window) || (from < 0 && last >= window));
  }

  /** False when the segment is of no further use. */
  #takeAcknowledgement({ sequence, acknowledgement, window, data, flags }: TcpSegment): boolean {
    if (this.#state === 'syn-received') {
      if (acknowledgement !== this.#sndNxt) {
        this.#path.send({ ...BARE, sequence: acknowledgement, flags: TCP.RST, segmentBytes: this.#segmentBytes });
        return false;
      }
      this.#state = 'established';
      this.#sndWl1 = sequence;
      this.#sndWl2 = acknowledgement;
      this.#sndWnd = window * 2 ** this.#sndScale;
      this.#acknowledged(acknowledgement);
      return true;
    }
    if (distance(acknowledgement, this.#sndMax) > 0) {
      this.#sendAck();
      return false;
    }
    const scaled = window * 2 ** this.#sndScale;
    const advance = distance(acknowledgement, this.#sndUna);
    if (advance > 0) this.#acknowledged(acknowledgement);
    else if (advance === 0 && data.length === 0 && (flags & TCP.FIN) === 0 && scaled === this.#sndWnd)
      this.#duplicateAck();
    if (advance >= 0 && this.#isNewer(sequence, acknowledgement)) {
      this.#sndWnd = scaled;
      this.#sndWl1 = sequence;
      this.#sndWl2 = acknowledgement;
    }
    return true;
  }

  /** Whether what a segment says about the window is newer than what is known (RFC 9293, 3.10.7.4). */
  #isNewer(sequence: number, acknowledgement: number): boolean {
    const later = distance(sequence, this.#sndWl1);
    return later > 0 || (later === 0 && distance(acknowledgement, this.#sndWl2) >= 0);
  }

  /** Everything before `acknowledgement` has arrived. */
  #acknowledged(acknowledgement: number): void {
    const nowMs = this.#path.timers.nowMs();
    let bytes = distance(acknowledgement, this.#sndUna);
    this.#timeout.acknowledged(acknowledgement, nowMs);
    // SYN and FIN count as one octet each, and lie before and behind the queue.
    if (this.#isOpening) bytes--;
    this.#isOpening = false;
    if (bytes > this.#queue.length) {
      bytes = this.#queue.length;
      this.#finAcknowledged = true;
    }
    this.#queue.drop(bytes);
    this.#sndUna = acknowledgement;
    if (distance(this.#sndNxt, acknowledgement) < 0) this.#sndNxt = acknowledgement;
    this.#retransmissions = 0;
    this.#duplicateAcks = 0;
    if (this.#congestionWindow !== Infinity) {
      this.#congestionWindow += bytes;
      if (distance(acknowledgement, this.#recoveryPoint) >= 0) this.#congestionWindow = Infinity;
    }
    this.#setRetransmit(acknowledgement === this.#sndMax ? Infinity : nowMs + this.#timeout.timeoutMs);
    this.#reads.taken(this.#queue.length, this.#host);
    if (this.#finAcknowledged) this.#closedOneWay();
  }

  #duplicateAck(): void {
    if (this.#sndNxt === this.#sndUna || ++this.#duplicateAcks !== DUPLICATE_ACKS) return;
    if (this.#congestionWindow === Infinity) this.#startOver();
  }

  #takeData({ sequence, data, flags }: TcpSegment): void {
    const skip = distance(this.#rcvNxt, sequence);
    // Before it something is missing: the guest hears at once what (RFC 5681, 4.2).
    if (skip < 0 || this.#guestEnded) return this.#sendAck();
    const room = distance(this.#rcvEdge, this.#rcvNxt);
    const fresh = data.subarray(skip, skip + room);
    if (fresh.length > 0) {
      if (this.#hostClosed) return this.#reset();
      this.#rcvNxt = (this.#rcvNxt + fresh.length) >>> 0;
      this.#bytesToAnswer += fresh.length;
      this.#host?.write(fresh);
      this.#path.answerLater();
    } else if (data.length > 0) this.#sendAck();
    const isWhole = skip + fresh.length === data.length;
    if ((flags & TCP.FIN) === 0 || !isWhole) return undefined;
    this.#rcvNxt = (this.#rcvNxt + 1) >>> 0;
    this.#guestEnded = true;
    this.#guestEndedFirst = !this.#finSent;
    this.#host?.end();
    this.#sendAck();
    if (this.#finAcknowledged) this.#closedOneWay();
    return undefined;
  }

  // Sending.

  /** Sends what there is to send, as far as windows and room allow. */
  #output(): void {
    if (this.#state !== 'established' || this.#finAcknowledged) return;
    const largest = this.#path.maximumDataBytes - (this.#path.maximumDataBytes % this.#segmentBytes);
    for (;;) {
      const underWay = distance(this.#sndNxt, this.#sndUna);
      const unsent = this.#queue.length - underWay;
      const window = Math.min(this.#sndWnd, this.#congestionWindow) - underWay;
      let length = Math.min(unsent, window, Math.max(largest, this.#segmentBytes));
      const finishes = this.#hostEnded && length === unsent && unsent >= 0;
      if (length <= 0 && !finishes) {
        if (unsent > 0 && underWay === 0) this.#waitForWindow();
        return;
      }
      if (length < unsent) {
        // Whole segments only, but for a window that allows none and has nothing under way that could open it (RFC 9293, 3.8.6.2.1).
        if (length >= this.#segmentBytes) length -= length % this.#segmentBytes;
        else if (underWay > 0) return;
      } else if (!finishes && length < largest / 4 && underWay >= largest) {
        // The end of what came in one piece goes with what follows, or with the acknowledgement that so much under way is sure to have: a small
        // frame takes a whole buffer of the guest, whose window collapses when what it holds is mostly room.
        return;
      }
      if (!this.#sendData(underWay, length, length === unsent, finishes)) return;
    }
  }

  /** Sends `length` bytes from `offset` of the queue at SND.NXT; false when there is no room for them. */
  #sendData(offset: number, length: number, isLast: boolean, finishes: boolean): boolean {
    const isSent = this.#path.send({
      ...this.#acknowledging(),
      sequence: this.#sndNxt,
      flags: TCP.ACK | (isLast && length > 0 ? TCP.PSH : 0) | (finishes ? TCP.FIN : 0),
      data: { queue: this.#queue, offset, length },
      segmentBytes: this.#segmentBytes,
    });
    // The room comes with the guest's next buffers.
    if (!isSent) return false;
    const nowMs = this.#path.timers.nowMs();
    this.#answered();
    this.#sndNxt = (this.#sndNxt + length + (finishes ? 1 : 0)) >>> 0;
    if (finishes) this.#finSent = true;
    if (distance(this.#sndNxt, this.#sndMax) > 0) {
      this.#sndMax = this.#sndNxt;
      this.#timeout.sent(this.#sndNxt, nowMs);
    }
    if (this.#retransmitAtMs === Infinity) this.#setRetransmit(nowMs + this.#timeout.timeoutMs);
    return true;
  }

  /** The guest's window is closed: it is asked from time to time whether it still is (RFC 9293, 3.8.6.1). */
  #waitForWindow(): void {
    if (this.#retransmitAtMs === Infinity) this.#setRetransmit(this.#path.timers.nowMs() + this.#timeout.timeoutMs);
  }

  /** Nothing came in time. */
  #expired(): void {
    this.#retransmitAtMs = Infinity;
    this.#timeout.expired();
    const isSyn = this.#state === 'syn-sent' || this.#state === 'syn-received';
    const isClosedWindow = !isSyn && this.#sndWnd === 0;
    if (!isClosedWindow) this.#retransmissions++;
    if (this.#retransmissions > (isSyn ? MAXIMUM_SYN_RETRANSMISSIONS : MAXIMUM_RETRANSMISSIONS)) {
      if (isSyn) this.#path.unreachable();
      return this.#reset();
    }
    if (isSyn) return this.#sendSyn();
    if (isClosedWindow && this.#queue.length > 0) {
      this.#sndNxt = this.#sndUna;
      this.#sendData(0, 1, false, false);
    } else this.#startOver();
    if (this.#retransmitAtMs === Infinity && this.#sndMax !== this.#sndUna)
      this.#setRetransmit(this.#path.timers.nowMs() + this.#timeout.timeoutMs);
    return undefined;
  }

  /** Sends everything again that is not acknowledged, slowly at first (RFC 5681, 3.1). */
  #startOver(): void {
    this.#recoveryPoint = this.#sndMax;
    this.#congestionWindow = this.#segmentBytes;
    this.#sndNxt = this.#sndUna;
    this.#output();
  }

  #sendAck(): void {
    if (this.#state === 'connecting' || this.#state === 'closed') return;
    const segment = { ...this.#acknowledging(), sequence: this.#sndNxt, flags: TCP.ACK };
    if (this.#path.send({ ...segment, segmentBytes: this.#segmentBytes })) this.#answered();
    else this.#answerOwed = true;
  }

  /** The guest was told what has arrived. */
  #answered(): void {
    this.#bytesToAnswer = 0;
    this.#answerAtMs = Infinity;
    this.#answerOwed = false;
  }

  /** What every segment says: what has arrived, and how much more may come. */
  #acknowledging(): { readonly acknowledgement: number; readonly window: number } {
    const unit = 2 ** this.#rcvScale;
    const window = Math.min(0xffff, Math.floor(distance(this.#newEdge(), this.#rcvNxt) / unit));
    const edge = (this.#rcvNxt + window * unit) >>> 0;
    // The edge that was told before stands though it may lie within a unit (RFC 9293, 3.8.6: do not shrink the window).
    if (distance(edge, this.#rcvEdge) > 0) this.#rcvEdge = edge;
    this.#countReceiving();
    return { acknowledgement: this.#rcvNxt, window };
  }

  /** How far the guest may send: as much as the host's socket has not to keep, and never less than it was told. */
  #newEdge(): number {
    this.#countReceiving();
    const queued = this.#host?.queuedBytes ?? 0;
    const had = Math.max(this.#promised, MINIMUM_WINDOW_BYTES - queued);
    const room = Math.max(0, Math.min(RECEIVE_WINDOW_BYTES - queued, had + Math.max(0, this.#path.receiving.left)));
    const edge = (this.#rcvNxt + room) >>> 0;
    return distance(edge, this.#rcvEdge) > 0 ? edge : this.#rcvEdge;
  }

  /** What the guest was told that it may still send. */
  get #promised(): number {
    return this.#guestEnded ? 0 : Math.max(0, distance(this.#rcvEdge, this.#rcvNxt));
  }

  #countReceiving(): void {
    const bytes = this.#promised + (this.#host?.queuedBytes ?? 0);
    this.#holdReceiving(Math.max(0, bytes - MINIMUM_WINDOW_BYTES));
  }

  // Closing.

  /** Our FIN has arrived, or the guest's did after that. */
  #closedOneWay(): void {
    if (this.#guestEnded) {
      if (this.#guestEndedFirst) this.#finish();
      else if (this.#state !== 'time-wait') {
        this.#state = 'time-wait';
        this.#closeLater(TIME_WAIT_MS);
      }
    } else if (this.#hostClosed) this.#closeLater(FIN_WAIT_MS);
  }

  #closeLater(delayMs: number): void {
    this.#closeAtMs = this.#path.timers.nowMs() + delayMs;
    this.#path.deadlineChanged(this.#closeAtMs);
  }

  /** The guest hears a reset, and so does the host. */
  #reset(): void {
    if (this.#state === 'connecting') {
      const answer = { ...BARE, flags: TCP.RST | TCP.ACK, acknowledgement: this.#rcvNxt };
      this.#path.send({ ...answer, segmentBytes: this.#segmentBytes });
    } else if (this.#state !== 'time-wait') {
      const flags = this.#state === 'syn-sent' ? TCP.RST : TCP.RST | TCP.ACK;
      const segment = { ...BARE, sequence: this.#sndNxt, acknowledgement: this.#rcvNxt, flags };
      this.#path.send({ ...segment, segmentBytes: this.#segmentBytes });
    }
    this.#abandon();
  }

  /** The guest is done with it. */
  #abandon(): void {
    this.#finish();
    if (!this.#hostClosed) this.#host?.reset();
  }

  #finish(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#queue.clear();
    this.#reads.end();
    this.#holdReceiving(0);
    this.#retransmitAtMs = this.#answerAtMs = this.#closeAtMs = Infinity;
    this.#path.closed();
  }

  #setRetransmit(atMs: number): void {
    this.#retransmitAtMs = atMs;
    if (atMs < Infinity) this.#path.deadlineChanged(atMs);
  }

  #setAnswer(atMs: number): void {
    if (this.#answerAtMs <= atMs) return;
    this.#answerAtMs = atMs;
    this.#path.deadlineChanged(atMs);
  }
}

const BARE = { sequence: 0, acknowledgement: 0, window: 0 } as const;
