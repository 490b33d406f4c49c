// Every scheduler by the class name that checkpoints give, and loading one from scheduler_config.json.

import { FormatError } from '@darkroom/core';
import { describeJson } from '../loading/json.ts';
import { DDIMScheduler } from './ddim.ts';
import { DDPMScheduler } from './ddpm.ts';
import { DPMSolverMultistepScheduler } from './dpm-solver.ts';
import { EulerAncestralDiscreteScheduler } from './euler-ancestral.ts';
import { EulerDiscreteScheduler } from './euler.ts';
import { HeunDiscreteScheduler } from './heun.ts';
import { LCMScheduler } from './lcm.ts';
import { LMSDiscreteScheduler } from './lms.ts';
import { PNDMScheduler } from './pndm.ts';
import type { Scheduler, SchedulerConfig } from './scheduler.ts';
import { UniPCMultistepScheduler } from './unipc.ts';

export type SchedulerClass = new (config?: SchedulerConfig, file?: string) => Scheduler;

export const schedulerClasses: Readonly<Record<string, SchedulerClass>> = {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  HeunDiscreteScheduler,
  LCMScheduler,
  LMSDiscreteScheduler,
  PNDMScheduler,
  UniPCMultistepScheduler,
};

/**
 * The scheduler a config names. `file` is where it was loaded from: errors about its values name it. All classes here are
 * built from each other's configs.
 */
export function schedulerFromConfig(config: SchedulerConfig, file?: string): Scheduler {
  const name = config['_class_name'];
  if (typeof name === 'string' && Object.hasOwn(schedulerClasses, name))
    return new schedulerClasses[name]!(config, file);
  const known = Object.keys(schedulerClasses).join(', ');
  const where = file ?? 'scheduler_config.json';
  throw new FormatError(`${where}: _class_name must be one of ${known}; got ${describeJson(name)}`);
}
