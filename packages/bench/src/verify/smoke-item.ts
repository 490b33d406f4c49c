// What an item of the smoke test is, and what it works with.

import type { Device } from '@darkroom/core';
import type { ChosenCase } from './compare.ts';
import type { StageContext } from './stage.ts';

/** What an item works with. */
export interface SmokeContext extends StageContext {
  readonly device: Device;
  readonly oracle: Device;
  /** Runs cases beside the CPU. @throws Error naming those that differ, when all have run. */
  readonly compare: (cases: readonly ChosenCase[]) => Promise<void>;
  /** Adds to the item's record. */
  readonly tell: (name: string, value: unknown) => void;
}

export interface SmokeItem {
  readonly name: string;
  /** Texts to compile before the first item runs. */
  readonly cases?: (device: Device, tiny: boolean) => readonly ChosenCase[];
  readonly run: (context: SmokeContext, cases: readonly ChosenCase[]) => Promise<void>;
}
