import { type Money, sameMoney } from '@sidecart/contracts/money';
import { DomainError } from '@sidecart/kit/domain-error';

// The rules of a product and its prices. Every change counts the version up by one, also one of a past day's price.

export interface Price {
  unitPrice: Money;
  /** The first day (YYYY-MM-DD, UTC) on which it holds. */
  effectiveOn: string;
}

export interface Product {
  sku: string;
  name: string;
  status: 'active' | 'retired';
  version: number;
  /** The price with the greatest (effective day, version). */
  current: Price;
}

export interface ProductCreated {
  type: 'ProductCreated';
  sku: string;
  name: string;
  price: Price;
  version: number;
  at: string;
}

export interface ProductPriceChanged {
  type: 'ProductPriceChanged';
  sku: string;
  price: Price;
  /** The current price before this change. */
  previous: Money;
  /** False when a later day already has its own price. */
  isCurrent: boolean;
  version: number;
  at: string;
}

export interface ProductRetired {
  type: 'ProductRetired';
  sku: string;
  version: number;
  at: string;
}

export type ProductEvent = ProductCreated | ProductPriceChanged | ProductRetired;

/** A price as a client states it: without a day it holds from today on. */
export interface StatedPrice {
  unitPrice: Money;
  effectiveOn?: string | undefined;
}

/** Throws DomainError `validation_failed` for a price from a day that has not come yet. */
export function createProduct(sku: string, name: string, stated: StatedPrice, at: string): ProductCreated {
  return { type: 'ProductCreated', sku, name, price: dated(stated, at), version: 1, at };
}

/**
 * True when a client creates again what it created before. Its day counts only when stated: without one it
 * means "today", which is another day when the request is repeated tomorrow.
 */
export function isSameCreation(product: Product, first: Price, name: string, stated: StatedPrice): boolean {
  return (
    product.name === name &&
    sameMoney(first.unitPrice, stated.unitPrice) &&
    (stated.effectiveOn === undefined || stated.effectiveOn === first.effectiveOn)
  );
}

/** The day that `setPrice` is about, so that the caller can look up which price that day has. */
export function dated(stated: StatedPrice, at: string): Price {
  const today = at.slice(0, 10);
  const effectiveOn = stated.effectiveOn ?? today;
  if (effectiveOn > today)
    throw new DomainError('invalid', 'validation_failed', {}, [
      {
        pointer: '/effective_on',
        code: 'in_future',
        detail: `Expected no later day than today, ${today} (UTC)`,
      },
    ]);
  return { unitPrice: stated.unitPrice, effectiveOn };
}

/**
 * Records what the price of a day is. `ofThatDay` is the price recorded for exactly that day, if any: the same
 * one again changes nothing, so that an import can be repeated. Throws DomainError `product_not_changeable`.
 */
export function setPrice(
  product: Product,
  price: Price,
  ofThatDay: Money | undefined,
  at: string,
): ProductPriceChanged[] {
  if (ofThatDay && sameMoney(ofThatDay, price.unitPrice)) return [];
  if (product.status === 'retired')
    throw new DomainError('conflict', 'product_not_changeable', {
      sku: product.sku,
      version: product.version,
    });
  return [
    {
      type: 'ProductPriceChanged',
      sku: product.sku,
      price,
      previous: product.current.unitPrice,
      isCurrent: price.effectiveOn >= product.current.effectiveOn,
      version: product.version + 1,
      at,
    },
  ];
}

/** Retiring a retired product changes nothing. */
export function retire(product: Product, at: string): ProductRetired[] {
  if (product.status === 'retired') return [];
  return [{ type: 'ProductRetired', sku: product.sku, version: product.version + 1, at }];
}
