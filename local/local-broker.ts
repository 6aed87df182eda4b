import type { Command } from './launch.ts';
import type { ServerName } from './programs/pins.ts';

/** What differs between shops on different brokers, on this machine. */
export interface LocalBroker {
  /** Of its process, its folder and its port. */
  name: 'nats' | 'redis';
  /** What the start calls it. */
  title: string;
  preferredPort: number;
  /** What has to be on the machine for it. */
  program: ServerName;
  /** Address with its login. */
  url(port: number, password: string): string;
  /** What the sidecars find in their secret `broker`. */
  secret(port: number, password: string): Record<string, string>;
  /** Writes its configuration and says how to start it. */
  command(o: BrokerOptions & { program: string }): Command;
  /** Where the messages lie. */
  store(folder: string): string;
  /** Makes the running broker end its connections and take no other login than the new one. */
  changePassword(o: PasswordChange): Promise<void>;
  /** What is done to the broker at `url`, by what was generated for it. */
  tasks(url: string, generatedFile: string): BrokerTasks;
}

export interface BrokerOptions {
  folder: string;
  port: number;
  password: string;
}

export interface PasswordChange extends BrokerOptions {
  oldPassword: string;
  /** Sends SIGHUP to its process. */
  hangUp(): void;
}

export interface BrokerTasks {
  /** Throws while the broker does not answer. */
  ping(): Promise<void>;
  /** Makes what must be there before the first message. */
  prepare(): Promise<void>;
  /** Brings what an earlier start has left to what the components say now. Tells what was changed. */
  align(): Promise<string[]>;
  /**
   * What no sidecar reads from yet, though by the table one should.
   * @param readers how many subscriptions all sidecars have together
   */
  unread(readers: number): Promise<string[]>;
  /** Looks after the broker; to be asked again and again. Tells what was done, in words. */
  look(): Promise<string[]>;
}
