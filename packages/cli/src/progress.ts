// Progress on stderr: one line that is drawn anew where stderr is a terminal, else a line every few seconds.

import type { LoadOptions, ProgressBar } from '@darkroom/diffusers';

/** Where lines go, and how wide they are. */
export interface Sink {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** How far a piece of work is. */
export interface Work {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'steps' | 'kernels';
  /** Seconds since it began. */
  readonly seconds: number;
  readonly note?: string | undefined;
}

/** Milliseconds between two drawings of a line, and between two lines. */
const [redrawMs, lineMs] = [100, 5000] as const;
const [widestBar, narrowestBar] = [30, 5] as const;

/** '1.2 GB', as downloads are counted. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let value = bytes;
  for (; value >= 999.5 && at < units.length - 1; at++) value /= 1000;
  return `${at === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[at]}`;
}

/** '5 s', '3 min', '2 h 10 min'. */
export function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** What is done, of how much, how fast, what remains: without a bar. */
export function workText({ label, done, total, unit, seconds, note }: Work): string {
  const amount = (n: number): string => (unit === 'bytes' ? bytesText(n) : `${n}`);
  const rate = seconds > 0 ? done / seconds : 0;
  const parts = [`${amount(done)} of ${amount(total)}${unit === 'bytes' ? '' : ` ${unit}`}`];
  if (rate > 0 && done > 0) {
    parts.push(unit === 'bytes' ? `${bytesText(rate)}/s` : `${rate.toPrecision(3)}/s`);
    if (done < total) parts.push(`${durationText((total - done) / rate)} left`);
  }
  if (note !== undefined) parts.push(note);
  return `${label}: ${parts.join(', ')}`;
}

/** The line with a bar, in at most `columns` - 1 characters: the bar shrinks first, then the text is cut. */
export function workLine(work: Work, columns: number): string {
  const most = Math.max(1, columns - 1);
  const text = workText(work);
  const room = Math.min(widestBar, most - text.length - 3);
  if (room < narrowestBar) return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  const part = work.total > 0 ? Math.min(1, Math.max(0, work.done / work.total)) : 0;
  const full = Math.round(part * room);
  return `[${'='.repeat(full)}${' '.repeat(room - full)}] ${text}`;
}

/** The progress of one command. */
export class Progress {
  readonly #sink: Sink | undefined;
  readonly #starts = new Map<string, { readonly at: number; readonly done: number }>();
  #last = performance.now();
  #isDrawn = false;

  /** `sink`: undefined shows nothing. */
  constructor(sink: Sink | undefined) {
    this.#sink = sink;
  }

  /** Shows how far `label` is. Its rate counts from the first report: a part may have been done before. */
  report(label: string, done: number, total: number, unit: Work['unit'], note?: string): void {
    const now = performance.now();
    let start = this.#starts.get(label);
    if (!start || done < start.done)
      this.#starts.set(label, (start = { at: now, done: unit === 'bytes' ? done : 0 }));
    const isDone = done >= total;
    if (isDone) this.#starts.delete(label);
    if (!this.#sink) return;
    const isShown = now - this.#last >= (this.#sink.isTTY ? redrawMs : lineMs);
    if (!isShown && !(isDone && this.#isDrawn)) return;
    this.#last = now;
    const seconds = (now - start.at) / 1000;
    const rate = seconds > 0 ? (done - start.done) / seconds : 0;
    // Seconds that the whole would have taken at this rate, so that the line's own rate is this one.
    const work = { label, done, total, unit, seconds: rate > 0 ? done / rate : 0, note };
    if (this.#sink.isTTY) {
      this.#sink.write(`\r\x1b[K${workLine(work, this.#sink.columns || 80)}`);
      this.#isDrawn = true;
    } else this.#sink.write(`${workText(work)}\n`);
    if (isDone) this.clear();
  }

  /** Takes the drawn line away: before other text, and at the end. */
  clear(): void {
    if (this.#isDrawn) this.#sink!.write('\r\x1b[K');
    this.#isDrawn = false;
  }

  /** A bar of a pipeline. */
  bar(total: number, label: string): ProgressBar {
    const unit = label === 'compiling' ? 'kernels' : 'steps';
    if (unit === 'kernels') {
      this.#announce('compiling kernels for these sizes');
      return { update: () => {}, stop: () => this.clear() };
    }
    this.report(label, 0, total, unit);
    return {
      update: (done, note) => this.report(label, done, total, unit, note),
      stop: () => {
        this.#starts.delete(label);
        this.clear();
      },
    };
  }

  /** Work whose length nobody knows. */
  #announce(text: string): void {
    if (!this.#sink) return;
    if (!this.#sink.isTTY) return void this.#sink.write(`${text}\n`);
    this.#sink.write(`\r\x1b[K${text.slice(0, (this.#sink.columns || 80) - 1)}`);
    this.#isDrawn = true;
  }
}

/** Callbacks of loading that report to `progress`; `before` runs first, and may throw to end it. */
export function progressOfLoading(
  progress: Progress,
  before: () => void = () => {},
): Required<Pick<LoadOptions, 'onDownload' | 'onLoad'>> {
  const reportAs =
    (what: string) =>
    (name: string, done: number, total: number): void => {
      before();
      progress.report(`${what} ${name}`, done, total, 'bytes');
    };
  return { onDownload: reportAs('downloading'), onLoad: reportAs('loading') };
}
