// The child's side: one stage in this process. Records go to the file and to the parent at once, or are printed when
// there is neither.

import { join } from 'node:path';
import { log } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { openDevice } from '@darkroom/cli/device';
import { appendLine, now } from './record-file.ts';
import type { StageRecord } from './records.ts';
import { LostDevice, lostCode } from './stage.ts';
import type { Stage, VerifyOptions } from './stage.ts';
import { tuneStoreIn } from './tune-store.ts';

/** A child's messages: records while it runs, and the reason of a failure. Its exit ends the stage. */
export type StageMessage = { readonly record: StageRecord } | { readonly failure: string };

/** A message as long as this tells enough. */
const failureLimit = 1000;
/** Warnings that are recorded. */
const mostWarnings = 200;

export interface RunStageOptions {
  readonly seconds: number;
  /** File that records are appended to. */
  readonly records?: string;
}

export async function runStage(
  stage: Stage,
  options: VerifyOptions,
  { seconds, records }: RunStageOptions,
): Promise<void> {
  const end = performance.now() + 1000 * seconds;
  const opened: Device[] = [];
  const faultsSeen = new Map<Device, number>();
  const tuneStore = tuneStoreIn(join(options.scratch, 'tuned'));
  endWithParent();
  const keep = (record: StageRecord): void => {
    if (records !== undefined) appendLine(records, { stage: stage.name, at: now(), record });
    void send({ record });
  };
  recordWarnings(keep);
  const noteFaults = (): void => {
    for (const device of opened) {
      const faults = faultsOf(device);
      for (const fault of faults.slice(faultsSeen.get(device) ?? 0)) keep({ kind: 'fault', fault });
      faultsSeen.set(device, faults.length);
    }
  };
  const record = (one: StageRecord): void => {
    noteFaults();
    keep(one);
  };
  let due = options.after === undefined;
  try {
    await stage.run({
      options,
      tuneStore,
      record,
      begin: (name) => {
        due ||= name === options.after;
        record({ kind: 'begin', name });
      },
      isDue: (name) => {
        const is = due;
        due ||= name === options.after;
        return is;
      },
      open: async (autotune) => {
        const device = await openDevice(options.device, { autotune, tuneStore });
        opened.push(device);
        const { fingerprint } = device.caps;
        if (opened.length === 1) record({ kind: 'fact', name: 'device', value: { fingerprint } });
        await device.tuner.load();
        return device;
      },
      left: () => (end - performance.now()) / 1000,
    });
    noteFaults();
  } catch (error) {
    noteFaults();
    await send({ failure: (error as Error).message.slice(0, failureLimit) });
    // A lost device cannot be closed either.
    if (error instanceof LostDevice) process.exit(lostCode);
    process.exitCode = 1;
  } finally {
    for (const device of opened) device[Symbol.dispose]();
  }
}

/** What a backend that keeps such a list has given up so far. */
function faultsOf({ backend }: Device): readonly unknown[] {
  const { faults } = backend as { readonly faults?: unknown };
  return Array.isArray(faults) ? faults : [];
}

function recordWarnings(record: (record: StageRecord) => void): void {
  const warn = log.warn;
  const seen = new Set<string>();
  log.warn = (message) => {
    warn(message);
    if (seen.has(message) || seen.size === mostWarnings) return;
    seen.add(message);
    record({ kind: 'warning', message });
  };
}

/** A process without its parent would hold the device for nothing. */
function endWithParent(): void {
  if (!process.send) return;
  process.on('disconnect', () => process.exit(1));
  process.channel?.unref();
}

function send(message: StageMessage): Promise<void> {
  return new Promise((done) => {
    if (process.send && process.connected) process.send(message, () => done());
    else {
      if (!process.send) process.stdout.write(`${JSON.stringify(message)}\n`);
      done();
    }
  });
}
