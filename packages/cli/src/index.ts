// @darkroom/cli: the parts of the darkroom command for other command lines: devices by name, the options that choose
// one, and the runner of programs. The command itself is main.ts.

export { deviceNames, openDevice } from './device.ts';
export type { OpenOptions } from './device.ts';
export { openChosen, withDeviceOptions } from './model.ts';
export type { DeviceChoice } from './model.ts';
export { runProgram } from './program.ts';
