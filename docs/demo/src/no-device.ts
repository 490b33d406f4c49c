// What a browser without WebGPU shows: that it is missing, why, and what to do. Says nothing about other errors.

import { element } from './elements.ts';
import type { Reply } from './protocol.ts';

type NoDevice = Extract<Reply, { type: 'noDevice' }>;

const titles: Readonly<Record<NoDevice['why'], string>> = {
  'no api': 'WebGPU is missing: this browser does not offer it',
  insecure: 'WebGPU is missing: browsers offer it to secure pages only',
  'no adapter': 'WebGPU is missing: the browser found no graphics adapter for it',
};

const cures: Readonly<Record<NoDevice['why'], readonly string[]>> = {
  'no api': [
    'Use a current browser: Chrome or Edge 113 or newer, Safari 26, or Firefox 141 on Windows (145 on Macs with Apple silicon).',
    'On Linux some browsers keep WebGPU behind a setting; look for WebGPU in chrome://flags or about:config.',
  ],
  insecure: [
    'Open the page over https, or from localhost when it is served on this computer. An address like http://192.168.… does not count.',
  ],
  'no adapter': [
    'Switch on hardware acceleration in the settings of the browser, then restart it.',
    'Update the driver of the graphics card. chrome://gpu tells why WebGPU is off.',
    'In a remote desktop or a virtual machine there may be no adapter at all.',
  ],
};

/** Fills `place` and shows it. */
export function describeNoDevice(place: HTMLElement, { why, message }: NoDevice): void {
  const list = element('ul');
  list.append(...cures[why].map((cure) => element('li', cure)), onTheCpu());
  const detail = element('p', `Details: ${message}.`);
  detail.className = 'detail';
  place.replaceChildren(element('h2', titles[why]), element('p', 'What you can do:'), list, detail);
  place.hidden = false;
}

function onTheCpu(): HTMLLIElement {
  const item = element('li', 'Or ');
  const link = element('a', 'draw on the processor instead');
  link.href = '?device=cpu';
  item.append(link, ', which needs no WebGPU and takes longer.');
  return item;
}
