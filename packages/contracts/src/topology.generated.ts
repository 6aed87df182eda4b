// Generated from topology.yaml by `npm run generate`. Do not edit: the next run overwrites it.

import type { PublicRoute, ServiceTopology } from './service-topology.ts';

export const NAMESPACE = "shop";

/** The name of the Dapr secret store. */
export const SECRET_STORE = "kubernetes";

/** Publishing to this topic stores nothing: it shows whether the broker connection lives. */
export const PROBE_TOPIC = "probe";

export const SERVICES = ["gateway","products","inventory","orders","payments","shipping"] as const;

export type ServiceName = (typeof SERVICES)[number];

export const TOPOLOGY = {
  "gateway": {
    "port": 8080,
    "database": false,
    "replicas": 1,
    "sends": [],
    "consumes": [],
    "publish": {},
    "components": [],
    "subscriptions": [],
    "senders": [],
    "invokes": {
      "products": {
        "timeoutMs": 800,
        "operations": [
          "POST /v1/quotes"
        ]
      }
    },
    "externals": {}
  },
  "products": {
    "port": 8101,
    "database": true,
    "replicas": 1,
    "owns": "products",
    "sends": [],
    "consumes": [],
    "publish": {
      "products": "pubsub-products"
    },
    "components": [
      "pubsub-products"
    ],
    "subscriptions": [],
    "senders": [],
    "invokes": {},
    "externals": {}
  },
  "inventory": {
    "port": 8102,
    "database": true,
    "replicas": 1,
    "owns": "inventory",
    "takes": "commands.inventory",
    "sends": [],
    "consumes": [
      "products",
      "orders"
    ],
    "publish": {
      "inventory": "pubsub-inventory-0"
    },
    "components": [
      "pubsub-products",
      "pubsub-inventory-0",
      "pubsub-commands-inventory-0",
      "pubsub-commands-inventory-1",
      "pubsub-orders-0",
      "pubsub-orders-1"
    ],
    "subscriptions": [
      {
        "topic": "products",
        "kind": "fact",
        "route": "/messages/products"
      },
      {
        "topic": "commands.inventory",
        "kind": "command",
        "route": "/messages/commands.inventory"
      },
      {
        "topic": "orders",
        "kind": "fact",
        "route": "/messages/orders"
      }
    ],
    "senders": [
      {
        "topic": "products",
        "sender": "products"
      },
      {
        "topic": "commands.inventory",
        "sender": "orders"
      },
      {
        "topic": "orders",
        "sender": "orders"
      }
    ],
    "invokes": {},
    "externals": {}
  },
  "orders": {
    "port": 8103,
    "database": true,
    "replicas": 1,
    "owns": "orders",
    "sends": [
      "commands.inventory",
      "commands.payments",
      "commands.shipping"
    ],
    "consumes": [
      "inventory",
      "payments",
      "shipping"
    ],
    "publish": {
      "commands.inventory": "pubsub-commands-inventory-0",
      "orders": "pubsub-orders-0",
      "commands.payments": "pubsub-commands-payments-0",
      "commands.shipping": "pubsub-commands-shipping-0"
    },
    "components": [
      "pubsub-inventory-0",
      "pubsub-inventory-1",
      "pubsub-commands-inventory-0",
      "pubsub-orders-0",
      "pubsub-payments-0",
      "pubsub-payments-1",
      "pubsub-commands-payments-0",
      "pubsub-shipping-0",
      "pubsub-shipping-1",
      "pubsub-commands-shipping-0"
    ],
    "subscriptions": [
      {
        "topic": "inventory",
        "kind": "fact",
        "route": "/messages/inventory"
      },
      {
        "topic": "payments",
        "kind": "fact",
        "route": "/messages/payments"
      },
      {
        "topic": "shipping",
        "kind": "fact",
        "route": "/messages/shipping"
      }
    ],
    "senders": [
      {
        "topic": "inventory",
        "sender": "inventory"
      },
      {
        "topic": "payments",
        "sender": "payments"
      },
      {
        "topic": "shipping",
        "sender": "shipping"
      }
    ],
    "invokes": {
      "products": {
        "timeoutMs": 1000,
        "operations": [
          "POST /v1/quotes"
        ]
      }
    },
    "externals": {}
  },
  "payments": {
    "port": 8104,
    "database": true,
    "replicas": 1,
    "owns": "payments",
    "takes": "commands.payments",
    "sends": [],
    "consumes": [],
    "publish": {
      "payments": "pubsub-payments-0"
    },
    "components": [
      "pubsub-payments-0",
      "pubsub-commands-payments-0",
      "pubsub-commands-payments-1"
    ],
    "subscriptions": [
      {
        "topic": "commands.payments",
        "kind": "command",
        "route": "/messages/commands.payments"
      }
    ],
    "senders": [
      {
        "topic": "commands.payments",
        "sender": "orders"
      }
    ],
    "invokes": {},
    "externals": {
      "provider": {
        "timeoutMs": 6700,
        "secret": "payments-provider"
      }
    }
  },
  "shipping": {
    "port": 8105,
    "database": true,
    "replicas": 1,
    "owns": "shipping",
    "takes": "commands.shipping",
    "sends": [],
    "consumes": [],
    "publish": {
      "shipping": "pubsub-shipping-0"
    },
    "components": [
      "pubsub-shipping-0",
      "pubsub-commands-shipping-0",
      "pubsub-commands-shipping-1"
    ],
    "subscriptions": [
      {
        "topic": "commands.shipping",
        "kind": "command",
        "route": "/messages/commands.shipping"
      }
    ],
    "senders": [
      {
        "topic": "commands.shipping",
        "sender": "orders"
      }
    ],
    "invokes": {},
    "externals": {}
  }
} as const satisfies Record<ServiceName, ServiceTopology>;

export const PUBLIC_ROUTES = [
  {
    "method": "GET",
    "path": "/v1/products",
    "service": "products",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/products",
    "service": "products",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/products/{sku}",
    "service": "products",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/products/{sku}/prices",
    "service": "products",
    "timeoutMs": 3000
  },
  {
    "method": "PUT",
    "path": "/v1/products/{sku}/price",
    "service": "products",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/products/{sku}/retire",
    "service": "products",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/stock",
    "service": "inventory",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/stock/{sku}",
    "service": "inventory",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/stock/{sku}/movements",
    "service": "inventory",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/stock/receipts",
    "service": "inventory",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/orders",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "POST",
    "path": "/v1/orders",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "GET",
    "path": "/v1/orders/{id}",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "GET",
    "path": "/v1/orders/{id}/history",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "POST",
    "path": "/v1/orders/{id}/cancel",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "POST",
    "path": "/v1/orders/{id}/amendments",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "POST",
    "path": "/v1/orders/{id}/refunds",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "POST",
    "path": "/v1/orders/{id}/settlement",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "GET",
    "path": "/v1/dashboard",
    "service": "orders",
    "timeoutMs": 5000
  },
  {
    "method": "GET",
    "path": "/v1/payments",
    "service": "payments",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/payments/{id}",
    "service": "payments",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/payments/webhooks",
    "service": "payments",
    "timeoutMs": 3000,
    "headers": [
      "webhook-id",
      "webhook-timestamp",
      "webhook-signature"
    ]
  },
  {
    "method": "GET",
    "path": "/v1/shipments",
    "service": "shipping",
    "timeoutMs": 3000
  },
  {
    "method": "GET",
    "path": "/v1/shipments/{id}",
    "service": "shipping",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/shipments/{id}/packages",
    "service": "shipping",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/shipments/{id}/hand-over",
    "service": "shipping",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/shipments/{id}/deliver",
    "service": "shipping",
    "timeoutMs": 3000
  },
  {
    "method": "POST",
    "path": "/v1/shipments/{id}/lose",
    "service": "shipping",
    "timeoutMs": 3000
  }
] as const satisfies readonly PublicRoute[];
