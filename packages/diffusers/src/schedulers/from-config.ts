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

/** Every scheduler class, by its name in scheduler_config.json. */
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
 * The scheduler of the class that a config's `_class_name` gives. Every class accepts the configs of all others. `file`
 * is the source of the config, for messages. @throws FormatError for an unknown class or bad values of a file,
 * ArgumentError for bad values without `file`
 */
export function schedulerFromConfig(config: SchedulerConfig, file?: string): Scheduler {
  const name = config['_class_name'];
  if (typeof name === 'string' && Object.hasOwn(schedulerClasses, name))
    return new schedulerClasses[name]!(config, file);
  const known = Object.keys(schedulerClasses).join(', ');
  const where = file ?? 'scheduler_config.json';
  throw new FormatError(`${where}: _class_name must be one of ${known}; got ${describeJson(name)}`);
}
