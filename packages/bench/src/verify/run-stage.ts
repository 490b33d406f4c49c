// The child's side: one stage in this process. Records go to the parent at once, or are printed when there is none.

import { join } from 'node:path';
import type { Device } from '@darkroom/core';
import { openDevice } from '@darkroom/cli/device';
import type { StageRecord } from './records.ts';
import type { Stage, VerifyOptions } from './stage.ts';
import { tuneStoreIn } from './tune-store.ts';

/** A child's messages: records while it runs, and the reason of a failure. Its exit ends the stage. */
export type StageMessage = { readonly record: StageRecord } | { readonly failure: string };

/** A message as long as this tells enough. */
const failureLimit = 1000;

export async function runStage(stage: Stage, options: VerifyOptions, seconds: number): Promise<void> {
  const end = performance.now() + 1000 * seconds;
  const opened: Device[] = [];
  const tuneStore = tuneStoreIn(join(options.scratch, 'tuned'));
  try {
    await stage.run({
      options,
      tuneStore,
      record: (record) => send({ record }),
      open: async (autotune) => {
        const device = await openDevice(options.device, { autotune, tuneStore });
        opened.push(device);
        await device.tuner.load();
        return device;
      },
      left: () => (end - performance.now()) / 1000,
    });
  } catch (error) {
    send({ failure: (error as Error).message.slice(0, failureLimit) });
    process.exitCode = 1;
  } finally {
    for (const device of opened) device[Symbol.dispose]();
  }
}

function send(message: StageMessage): void {
  if (process.send) process.send(message);
  else process.stdout.write(`${JSON.stringify(message)}\n`);
}
