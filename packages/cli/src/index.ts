// @darkroom/cli: what other command lines take from the darkroom command: devices by name, the options that choose one,
// and running a program. The command itself is main.ts.

export { deviceNames, openDevice } from './device.ts';
export type { OpenOptions } from './device.ts';
export { openChosen, withDeviceOptions } from './model.ts';
export type { DeviceChoice } from './model.ts';
export { runProgram } from './program.ts';
