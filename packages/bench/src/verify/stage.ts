// A stage of verify: one thing to check or to time, in a process of its own, so that a crash, a hang or a poisoned device
// context costs that stage only.

import type { Device, TuneMode, TuneStore } from '@darkroom/core';
import type { StageRecord } from './records.ts';

export interface VerifyOptions {
  /** Device under test: cpu | webgpu | cuda. */
  readonly device: string;
  /** Folder of reference cases. */
  readonly goldens: string;
  /** Folder of a small real model, for a picture. */
  readonly model: string;
  /** Folder of replay.py and the op list. */
  readonly torch: string;
  /** Random cases of each kind of op. */
  readonly runs: number;
  /** Everything at sizes that an emulated device runs in seconds. */
  readonly tiny: boolean;
  /** Checks only, no timings. */
  readonly quick: boolean;
  /** Folder of files that the run leaves. */
  readonly results: string;
  /** Folder where what tuning found passes from stage to stage. */
  readonly scratch: string;
  /** The stage goes on behind the part of this name, in which an earlier process of it ended. */
  readonly after?: string;
}

export interface StageContext {
  readonly options: VerifyOptions;
  /** Kept at once: what was recorded stays when the stage fails later. */
  readonly record: (record: StageRecord) => void;
  /** Says that a part of the stage starts; the process is ended when it says nothing for the stage's `silence`. */
  readonly begin: (name: string) => void;
  /** True behind the part where an earlier process of this stage ended; each part of the stage asks once, in order. */
  readonly isDue: (name: string) => boolean;
  /** Results of tuning, shared by all stages. */
  readonly tuneStore: TuneStore;
  /** Opens the device under test with what was tuned so far; closed when the stage ends. */
  readonly open: (autotune: TuneMode) => Promise<Device>;
  /** Seconds left of the stage's share. */
  readonly left: () => number;
}

export interface Stage {
  readonly name: string;
  /** Its share of the budget: it is ended after so many seconds. */
  readonly seconds: number;
  /** Left out by --quick. */
  readonly timing: boolean;
  /** Seconds without a message after which its process counts as hung. Default: only `seconds` counts. */
  readonly silence?: number;
  /** Added to the environment of its process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Parts without which nothing else is worth running: when one of them fails, no other stage runs. */
  readonly vital?: readonly string[];
  readonly run: (context: StageContext) => Promise<void>;
}

/** The device's context is of no more use; the parent starts the stage again, behind the part where that happened. */
export class LostDevice extends Error {}

/** Exit code of a stage's process whose device is lost. */
export const lostCode = 3;
