// Fills a cache folder with the cubins that verify's stages ask for, on a machine without a GPU: the stages run on a
// stand-in for the driver. Its results are zeros, so what the stages find is dropped and what they compiled is kept.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDevice } from '@darkroom/backend-cuda';
import { realNvrtc, standInCuda } from '@darkroom/backend-cuda/testing';
import type { Device } from '@darkroom/core';
import type { Stage, VerifyOptions } from './stage.ts';
import { tuneStoreIn } from './tune-store.ts';

/** A stage's seconds here: one core compiles what sixteen do on the machine with the GPU. */
const patience = 3600;

export interface Prepared {
  readonly stage: string;
  /** Cubins in the folder after the stage. */
  readonly cubins: number;
  readonly seconds: number;
  /** The reason why the stage ended early; its zeros fail most checks. */
  readonly ended?: string;
}

/** Runs `stages` one by one in this process. @throws DeviceError where NVRTC is missing. */
export async function prepare(
  stages: readonly Stage[],
  options: Omit<VerifyOptions, 'scratch'>,
  folder: string,
  onStage: (done: Prepared) => void,
): Promise<void> {
  const nvrtc = realNvrtc();
  for (const stage of stages) {
    const scratch = mkdtempSync(join(tmpdir(), 'darkroom-prepare-'));
    const tuneStore = tuneStoreIn(join(scratch, 'tuned'));
    const opened: Device[] = [];
    const start = performance.now();
    let ended: string | undefined;
    try {
      await stage.run({
        options: { ...options, scratch },
        tuneStore,
        record: () => {},
        begin: () => {},
        isDue: () => true,
        open: async (autotune) => {
          const device = openDevice(standInCuda(nvrtc).cuda, { autotune, tuneStore, cache: folder });
          opened.push(device);
          return device;
        },
        left: () => patience,
      });
    } catch (error) {
      ended = (error as Error).message;
    } finally {
      for (const device of opened) device[Symbol.dispose]();
      rmSync(scratch, { recursive: true, force: true });
    }
    const cubins = readdirSync(folder).filter((name) => name.endsWith('.cubin')).length;
    const seconds = (performance.now() - start) / 1000;
    onStage({ stage: stage.name, cubins, seconds, ...(ended !== undefined && { ended }) });
  }
}
